// Decode's matrix-vector products on AVX-512 VNNI; see vnni.h.
#include "cpu/native/activation.h"
#include "cpu/native/finish.h"
#include "cpu/native/head.h"
#include "cpu/native/stage_memory.h"
#include "cpu/native/vnni.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// A thread reads so many rows at once, from places far apart: one row after the other, what the processor fetches by
// itself ends at each page.
constexpr int rows_at_once = 4;

// Sums of the lanes of rows' products and shifts. A row's bits don't depend on the rows beside it.
struct LaneSums {
  __m512 products[rows_at_once];
  __m256 shifts[rows_at_once];

  __attribute__((always_inline)) LaneSums() {
    for (int r = 0; r < rows_at_once; r++) {
      products[r] = _mm512_setzero_ps();
      shifts[r] = _mm256_setzero_ps();
    }
  }

  template <int rows>
  __attribute__((always_inline)) void reduce(float* out) const {
    __m256 eight[rows_at_once];
    for (int r = 0; r < rows_at_once; r++) {
      const __m512 sum = products[r < rows ? r : 0];
      const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
      eight[r] = _mm256_add_ps(halves, shifts[r < rows ? r : 0]);
    }
    const __m256 both = _mm256_hadd_ps(_mm256_hadd_ps(eight[0], eight[1]), _mm256_hadd_ps(eight[2], eight[3]));
    const __m128 sums = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
    if constexpr (rows == rows_at_once) {
      _mm_storeu_ps(out, sums);
    } else {
      static_assert(rows == 1);
      _mm_store_ss(out, sums);
    }
  }
};

// `run<rows>` multiplies rows of weights, which begin at the blocks `first`, with one row of inputs. Never inlined, so
// that every caller gets the same bits.
template <typename Format>
struct RowProduct {
  static constexpr bool nibble_order = true;
  template <int rows>
  [[gnu::noinline]] static void run(const Planes& p, const std::uint64_t* first, std::uint32_t blocks, const Inputs& in,
                                    float* out) {
    const __m512i lanes[2] = {_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                              _mm512_setr_epi32(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7)};
    LaneSums sums;
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m256 input_sums = _mm256_load_ps(in.sums + group), input_scales = _mm256_load_ps(in.scales + group);
      const __mmask8 present = present_blocks(blocks, group);
      __m512 scales[rows];
      for (int r = 0; r < rows; r++) {
        const GroupAffine affine = Vnni<Format>::affine(p, first[r] + group, present);
        sums.shifts[r] = _mm256_fmadd_ps(affine.shift, input_sums, sums.shifts[r]);
        scales[r] = _mm512_castps256_ps512(_mm256_mul_ps(affine.scale, input_scales));
      }
      for (std::uint32_t quad = 0; quad < 2; quad++) {
        const std::uint32_t block = group + quad * 4;
        if (block >= blocks) break;
        const std::size_t at = static_cast<std::size_t>(block) * 32;
        for (int r = 0; r < rows; r++) {
          const __m512 terms = products(Vnni<Format>::quad(p, first[r] + block), in.high + at, in.low + at);
          sums.products[r] = _mm512_fmadd_ps(terms, _mm512_permutexvar_ps(lanes[quad], scales[r]), sums.products[r]);
        }
      }
    }
    sums.reduce<rows>(out);
  }
};

// Whole bytes: two blocks fill a register. q + 128 is unsigned.
template <>
struct RowProduct<Q8_0> {
  static constexpr bool nibble_order = false;
  template <int rows, bool fetches = true>
  [[gnu::noinline]] static void run(const Planes& p, const std::uint64_t* first, std::uint32_t blocks, const Inputs& in,
                                    float* out) {
    const __m512i lanes[4] = {_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                              _mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3),
                              _mm512_setr_epi32(4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5),
                              _mm512_setr_epi32(6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7)};
    const __m512i flip = _mm512_set1_epi8(-128);
    LaneSums sums;
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m256 input_sums = _mm256_mul_ps(_mm256_load_ps(in.sums + group), _mm256_set1_ps(-128.0f));
      const __m256 input_scales = _mm256_load_ps(in.scales + group);
      const __mmask8 present = present_blocks(blocks, group);
      __m512 scales[rows];
      for (int r = 0; r < rows; r++) {
        const __m256 scale = halves_at(p.scales, first[r] + group, present);
        sums.shifts[r] = _mm256_fmadd_ps(scale, input_sums, sums.shifts[r]);
        scales[r] = _mm512_castps256_ps512(_mm256_mul_ps(scale, input_scales));
      }
      for (std::uint32_t pair = 0; pair < 4; pair++) {
        if (group + pair * 2 >= blocks) break;
        const std::size_t at = (static_cast<std::size_t>(group) + pair * 2) * 32;
        for (int r = 0; r < rows; r++) {
          const unsigned char* bytes = p.low + (first[r] + group + pair * 2) * 32;
          if (fetches) fetch_ahead(bytes);
          const __m512i q = _mm512_xor_si512(_mm512_loadu_si512(bytes), flip);
          const __m512 terms = products(q, in.high + at, in.low + at);
          sums.products[r] = _mm512_fmadd_ps(terms, _mm512_permutexvar_ps(lanes[pair], scales[r]), sums.products[r]);
        }
      }
    }
    sums.reduce<rows>(out);
  }
};

// Sixteen weights a scale, so the two registers of a quad have scales of their own.
template <>
struct RowProduct<Q6_K> {
  static constexpr bool nibble_order = true;
  template <int rows>
  [[gnu::noinline]] static void run(const Planes& p, const std::uint64_t* first, std::uint32_t blocks, const Inputs& in,
                                    float* out) {
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    LaneSums sums;
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m512 input_sums =
          _mm512_mul_ps(_mm512_load_ps(in.half_sums + group * 2), _mm512_set1_ps(static_cast<float>(-Q6_K::zero)));
      const __m512 input_scales = _mm512_load_ps(in.half_scales + group * 2);
      __m512 scales[rows];
      for (int r = 0; r < rows; r++) {
        const std::uint64_t block = first[r] + group;
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + block * 2));
        const __m512 super_scale = _mm512_set1_ps(half_at(p.super_scales, block / group_blocks));
        const __m512 scale = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), super_scale);
        sums.products[r] = _mm512_fmadd_ps(scale, input_sums, sums.products[r]);
        scales[r] = _mm512_mul_ps(scale, input_scales);
      }
      for (std::uint32_t quad = 0; quad < 2; quad++) {
        const std::size_t at = (static_cast<std::size_t>(group) + quad * 4) * 32;
        const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(quad * 8)));
        const __m512i next = _mm512_add_epi32(index, _mm512_set1_epi32(1));
        for (int r = 0; r < rows; r++) {
          const Quad q = load_six_bits(p, first[r] + group + quad * 4);
          sums.products[r] = _mm512_fmadd_ps(products(q.first, in.high + at, in.low + at),
                                             _mm512_permutexvar_ps(index, scales[r]), sums.products[r]);
          sums.products[r] = _mm512_fmadd_ps(products(q.last, in.high + at + 64, in.low + at + 64),
                                             _mm512_permutexvar_ps(next, scales[r]), sums.products[r]);
        }
      }
    }
    sums.reduce<rows>(out);
  }
};

// y[i] = weight row (begin + i) . inputs, for all rows of [begin, end).
template <typename Format>
void multiply_rows(const Planes& p, std::uint32_t begin, std::uint32_t end, std::uint32_t blocks, const Inputs& in,
                   float* y) {
  const std::uint32_t stretch = (end - begin) / rows_at_once;
  for (std::uint32_t i = 0; i < stretch; i++) {
    std::uint64_t first[rows_at_once];
    float out[rows_at_once];
    for (std::uint32_t r = 0; r < rows_at_once; r++) first[r] = std::uint64_t{begin + r * stretch + i} * blocks;
    RowProduct<Format>::template run<rows_at_once>(p, first, blocks, in, out);
    for (std::uint32_t r = 0; r < rows_at_once; r++) y[r * stretch + i] = out[r];
  }
  for (std::uint32_t row = begin + rows_at_once * stretch; row < end; row++) {
    const std::uint64_t first = std::uint64_t{row} * blocks;
    RowProduct<Format>::template run<1>(p, &first, blocks, in, y + (row - begin));
  }
}

// The quantised inputs of a thread's pieces of a stage, which its products of the same inputs share.
template <bool nibble_order>
Inputs stage_inputs(const void* x, std::uint32_t blocks) {
  thread_local StageMemory memory;
  if (memory.is_new(x, inputs_bytes(blocks))) {
    return quantise(static_cast<const float*>(x), blocks, nibble_order, memory.data());
  }
  return place_inputs(memory.data(), blocks);
}

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = stage_inputs<RowProduct<Format>::nibble_order>(launch.buffers[2], blocks);
  const std::uint64_t group_outputs = VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  const auto first = smaller(static_cast<std::uint32_t>(begin * group_outputs), last);
  multiply_rows<Format>(planes, first, last, blocks, in, y + first);
  const Finish finish(launch);
  finish(y + first, first, last);
}

constexpr std::uint32_t glu_rows = 512;  // whose gates are kept until their ups are there

template <typename Format>
void matmul_glu_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = stage_inputs<RowProduct<Format>::nibble_order>(launch.buffers[3], blocks);
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n += glu_rows) {
    const std::uint32_t count = smaller(glu_rows, last - n);
    alignas(64) float gate[glu_rows] = {}, up[glu_rows] = {};
    multiply_rows<Format>(gate_planes, n, n + count, blocks, in, gate);
    multiply_rows<Format>(up_planes, n, n + count, blocks, in, up);
    for (std::uint32_t i = 0; i < count; i += width) {
      store(gate + i, activate(args.activation, load(gate + i)) * load(up + i));
    }
    std::memcpy(y + n, gate, count * sizeof(float));
  }
}

class HeadProducts {
 public:
  HeadProducts(const HeadArgs& args, const void* weight, const float* x, std::size_t extra_bytes = 0)
      : planes_(weight, args.planes), blocks_(args.columns / block_weights) {
    unsigned char* memory = scratch(extra_bytes + inputs_bytes(blocks_));
    extra_ = memory;
    inputs_ = quantise(x, blocks_, false, memory + extra_bytes);
  }
  void full(const std::uint32_t* rows, std::uint32_t count, float* logits) const {
    for (std::uint32_t i = 0; i < count; i += rows_at_once) {
      const std::uint32_t present = smaller(rows_at_once, count - i);
      for (std::uint32_t r = i + rows_at_once; r < smaller(count, i + 2 * rows_at_once); r++) fetch_row(rows[r]);
      // A list that is not full repeats its last row.
      std::uint64_t first[rows_at_once];
      float out[rows_at_once];
      for (std::uint32_t r = 0; r < rows_at_once; r++) {
        first[r] = std::uint64_t{rows[i + smaller(r, present - 1)]} * blocks_;
      }
      RowProduct<Q8_0>::run<rows_at_once, false>(planes_, first, blocks_, inputs_, out);
      std::memcpy(logits + i, out, present * sizeof(float));
    }
  }
  void all(std::uint32_t begin, std::uint32_t end, float* logits) const {
    multiply_rows<Q8_0>(planes_, begin, end, blocks_, inputs_, logits);
  }
  unsigned char* extra() const { return extra_; }

 private:
  void fetch_row(std::uint32_t row) const {
    const std::uint64_t first = std::uint64_t{row} * blocks_;
    const auto fetch = [](const unsigned char* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); };
    for (std::uint32_t at = 0; at < blocks_ * 32; at += 64) fetch(planes_.low + first * 32 + at);
    fetch(planes_.scales + first * 2);
  }

  Planes planes_;
  std::uint32_t blocks_;
  unsigned char* extra_;
  Inputs inputs_;
};

#define FASTGO_VNNI_ROWS(name, Format) \
  {"matmul_" #name "_r1", &matmul_vector<Format>}, {"matmul_glu_" #name "_r1", &matmul_glu_vector<Format>},

}  // namespace

extern const NativeKernel matmul_vnni_kernels[] = {FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_VNNI_ROWS)
                                                       FASTGO_HEAD_KERNELS(HeadProducts)};
extern const NativeTable matmul_vnni_table = {matmul_vnni_kernels,
                                              sizeof(matmul_vnni_kernels) / sizeof(matmul_vnni_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
