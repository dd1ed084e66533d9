// Decode's matrix-vector products on AVX-512 VNNI; see vnni.h.
#include "cpu/native/activation.h"
#include "cpu/native/head.h"
#include "cpu/native/vnni.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

template <typename Format>
struct RowProduct {
  static constexpr bool nibble_order = true;
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    const std::uint64_t first = row * blocks;
    const __m512i lanes[2] = {_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                              _mm512_setr_epi32(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7)};
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m256 shifts = _mm256_setzero_ps();
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const GroupAffine affine = Vnni<Format>::affine(p, first + group, present_blocks(blocks, group));
      shifts = _mm256_fmadd_ps(affine.shift, _mm256_load_ps(in.sums + group), shifts);
      const __m512 scales = _mm512_castps256_ps512(_mm256_mul_ps(affine.scale, _mm256_load_ps(in.scales + group)));
      for (int quad = 0; quad < 2; quad++) {
        const std::uint32_t block = group + static_cast<std::uint32_t>(quad) * 4;
        if (block >= blocks) break;
        const std::size_t at = static_cast<std::size_t>(block) * 32;
        const __m512 terms = products(Vnni<Format>::quad(p, first + block), in.high + at, in.low + at);
        sums[quad] = _mm512_fmadd_ps(terms, _mm512_permutexvar_ps(lanes[quad], scales), sums[quad]);
      }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_zextps256_ps512(shifts)));
  }
};

// Whole bytes: two blocks fill a register. q + 128 is unsigned.
template <>
struct RowProduct<Q8_0> {
  static constexpr bool nibble_order = false;
  // Never inlined, so that every caller gets the same bits.
  [[gnu::noinline]] static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    const std::uint64_t first = row * blocks;
    const __m512i lanes[4] = {_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                              _mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3),
                              _mm512_setr_epi32(4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5),
                              _mm512_setr_epi32(6, 6, 6, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7, 7, 7)};
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    __m256 shifts = _mm256_setzero_ps();
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m256 scale = halves_at(p.scales, first + group, present_blocks(blocks, group));
      const __m256 shift = _mm256_mul_ps(scale, _mm256_set1_ps(-128.0f));
      shifts = _mm256_fmadd_ps(shift, _mm256_load_ps(in.sums + group), shifts);
      const __m512 scales = _mm512_castps256_ps512(_mm256_mul_ps(scale, _mm256_load_ps(in.scales + group)));
      const unsigned char* bytes = p.low + (first + group) * 32;
      for (std::uint32_t pair = 0; pair < 4; pair++) {
        if (group + pair * 2 >= blocks) break;
        fetch_ahead(bytes + pair * 64);
        const __m512i q = _mm512_xor_si512(_mm512_loadu_si512(bytes + pair * 64), flip);
        const std::size_t at = (static_cast<std::size_t>(group) + pair * 2) * 32;
        const __m512 terms = products(q, in.high + at, in.low + at);
        sums[pair] = _mm512_fmadd_ps(terms, _mm512_permutexvar_ps(lanes[pair], scales), sums[pair]);
      }
    }
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, _mm512_zextps256_ps512(shifts)));
  }
};

// Sixteen weights a scale, so the two registers of a quad have scales of their own.
template <>
struct RowProduct<Q6_K> {
  static constexpr bool nibble_order = true;
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    const std::uint64_t first = row * blocks;
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512 shifts = _mm512_setzero_ps();
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + (first + group) * 2));
      const __m512 super_scale = _mm512_set1_ps(half_at(p.super_scales, (first + group) / group_blocks));
      const __m512 scale = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), super_scale);
      const __m512 shift = _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(-Q6_K::zero)));
      shifts = _mm512_fmadd_ps(shift, _mm512_load_ps(in.half_sums + group * 2), shifts);
      const __m512 scales = _mm512_mul_ps(scale, _mm512_load_ps(in.half_scales + group * 2));
      for (std::uint32_t quad = 0; quad < 2; quad++) {
        const std::uint64_t block = first + group + quad * 4;
        const Quad q = load_six_bits(p, block);
        const std::size_t at = (static_cast<std::size_t>(group) + quad * 4) * 32;
        const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(quad * 8)));
        const __m512i next = _mm512_add_epi32(index, _mm512_set1_epi32(1));
        sums[0] = _mm512_fmadd_ps(products(q.first, in.high + at, in.low + at), _mm512_permutexvar_ps(index, scales),
                                  sums[0]);
        sums[1] = _mm512_fmadd_ps(products(q.last, in.high + at + 64, in.low + at + 64),
                                  _mm512_permutexvar_ps(next, scales), sums[1]);
      }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), shifts));
  }
};

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[2]), blocks, RowProduct<Format>::nibble_order,
                             scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    y[n] = RowProduct<Format>::run(planes, n, blocks, in);
  }
}

template <typename Format>
void matmul_glu_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[3]), blocks, RowProduct<Format>::nibble_order,
                             scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n += width) {
    const std::uint32_t count = smaller(width, last - n);
    alignas(64) float gate[width] = {}, up[width] = {};
    for (std::uint32_t i = 0; i < count; i++) gate[i] = RowProduct<Format>::run(gate_planes, n + i, blocks, in);
    for (std::uint32_t i = 0; i < count; i++) up[i] = RowProduct<Format>::run(up_planes, n + i, blocks, in);
    store(gate, activate(args.activation, load(gate)) * load(up));
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
  float full(std::uint32_t row) const { return RowProduct<Q8_0>::run(planes_, row, blocks_, inputs_); }
  unsigned char* extra() const { return extra_; }

 private:
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
