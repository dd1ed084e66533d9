// Decode's matrix-vector products on AVX2: integer dot products of weights with 16-bit activations.
//
// Inputs are quantised once a call, a scale for each block of 32. A block's integers are widened to 16 bits and
// multiplied in pairs; its sum becomes a float once.
#include "cpu/native/activation.h"
#include "cpu/native/head.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

struct Inputs {
  std::int16_t* values;
  float* scales;     // a block
  float* half_sums;  // of a half block's inputs
};

std::size_t inputs_bytes(std::uint32_t blocks) { return blocks * (64 + 3 * sizeof(float)); }

Inputs quantise(const float* x, std::uint32_t blocks, unsigned char* memory) {
  Inputs in;
  in.values = reinterpret_cast<std::int16_t*>(memory);
  in.scales = reinterpret_cast<float*>(memory + static_cast<std::size_t>(blocks) * 64);
  in.half_sums = in.scales + blocks;
  for (std::uint32_t b = 0; b < blocks; b++) {
    const float* block = x + b * block_weights;
    float largest = 0.0f;
    for (std::uint32_t j = 0; j < block_weights; j++) {
      const float magnitude = __builtin_fabsf(block[j]);
      largest = magnitude > largest || magnitude != magnitude ? magnitude : largest;  // keeps a NaN
    }
    const float inverse = largest > 0.0f ? 32767.0f / largest : 0.0f;
    const float scale = largest / 32767.0f;
    std::int32_t sums[2] = {0, 0};
    for (std::uint32_t j = 0; j < block_weights; j++) {
      const auto q = inverse > 0.0f ? static_cast<std::int32_t>(__builtin_rintf(block[j] * inverse)) : 0;
      in.values[b * block_weights + j] = static_cast<std::int16_t>(q);
      sums[j / 16] += q;
    }
    in.scales[b] = scale;
    in.half_sums[b * 2] = scale * static_cast<float>(sums[0]);
    in.half_sums[b * 2 + 1] = scale * static_cast<float>(sums[1]);
  }
  return in;
}

// A block's integers, widened: its first and its last sixteen.
struct Halves {
  __m256i first, last;
};

inline Halves load_nibbles(const unsigned char* low, std::uint64_t block) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low + block * 16));
  const __m128i mask = _mm_set1_epi8(15);
  return {_mm256_cvtepu8_epi16(_mm_and_si128(bytes, mask)),
          _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask))};
}

// Adds `value` where the bits of `word` are set.
inline Halves add_high_bits(Halves q, std::uint32_t word, std::int16_t value) {
  const __m256i bits = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768);
  const __m256i addend = _mm256_set1_epi16(value);
  const auto add = [&](__m256i v, std::uint32_t half) {
    const __m256i set = _mm256_and_si256(_mm256_set1_epi16(static_cast<std::int16_t>(half)), bits);
    return _mm256_add_epi16(v, _mm256_and_si256(_mm256_cmpeq_epi16(set, bits), addend));
  };
  return {add(q.first, word & 0xFFFFu), add(q.last, word >> 16)};
}

template <typename Format>
struct Integers {
  static Halves load(const Planes& p, std::uint64_t block) { return load_nibbles(p.low, block); }
};
template <>
struct Integers<Q8_0> {
  static Halves load(const Planes& p, std::uint64_t block) {
    const auto* bytes = reinterpret_cast<const __m128i*>(p.low + block * 32);
    return {_mm256_cvtepi8_epi16(_mm_loadu_si128(bytes)), _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1))};
  }
};
template <>
struct Integers<Q8_SPLIT> {
  static Halves load(const Planes& p, std::uint64_t block) {
    const Halves low = load_nibbles(p.low, block), high = load_nibbles(p.high, block);
    return {_mm256_or_si256(low.first, _mm256_slli_epi16(high.first, 4)),
            _mm256_or_si256(low.last, _mm256_slli_epi16(high.last, 4))};
  }
};
template <>
struct Integers<Q8_HIGH> {
  static Halves load(const Planes& p, std::uint64_t block) { return load_nibbles(p.high, block); }
};
struct FiveBits {
  static Halves load(const Planes& p, std::uint64_t block) {
    return add_high_bits(load_nibbles(p.low, block), word_at(p.high, block), 16);
  }
};
template <>
struct Integers<Q5_0> : FiveBits {};
template <>
struct Integers<Q5_1> : FiveBits {};
template <>
struct Integers<Q5_K> : FiveBits {};
template <>
struct Integers<Q6_K> {
  static Halves load(const Planes& p, std::uint64_t block) {
    const Halves q = add_high_bits(load_nibbles(p.low, block), word_at(p.high, block * 2), 16);
    return add_high_bits(q, word_at(p.high, block * 2 + 1), 32);
  }
};

inline __m256i load_input(const std::int16_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }

template <typename Format>
struct RowProduct {
  // Never inlined, so that every caller gets the same bits.
  [[gnu::noinline]] static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    __m256 sums = _mm256_setzero_ps();
    float shifts = 0.0f;
    for (std::uint32_t b = 0; b < blocks; b++) {
      const std::uint64_t index = row * blocks + b;
      const Halves q = Integers<Format>::load(p, index);
      const Affine affine = Format::affine(p, index);
      const __m256i terms = _mm256_add_epi32(_mm256_madd_epi16(q.first, load_input(in.values + b * 32)),
                                             _mm256_madd_epi16(q.last, load_input(in.values + b * 32 + 16)));
      sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(terms), _mm256_set1_ps(affine.scale * in.scales[b]), sums);
      const float shift = affine.shift - affine.scale * static_cast<float>(Format::zero);
      shifts += shift * (in.half_sums[b * 2] + in.half_sums[b * 2 + 1]);
    }
    return horizontal_sum(reinterpret_cast<Vector>(sums)) + shifts;
  }
};

template <>
struct RowProduct<Q6_K> {
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    __m256 sums = _mm256_setzero_ps();
    float shifts = 0.0f;
    for (std::uint32_t b = 0; b < blocks; b++) {
      const std::uint64_t index = row * blocks + b;
      const Halves q = Integers<Q6_K>::load(p, index);
      const __m256i halves[2] = {q.first, q.last};
      for (int side = 0; side < 2; side++) {
        const float scale = Q6_K::scale(p, index, side);
        const __m256i terms = _mm256_madd_epi16(halves[side], load_input(in.values + b * 32 + side * 16));
        sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(terms), _mm256_set1_ps(scale * in.scales[b]), sums);
        shifts -= scale * static_cast<float>(Q6_K::zero) * in.half_sums[b * 2 + static_cast<std::uint32_t>(side)];
      }
    }
    return horizontal_sum(reinterpret_cast<Vector>(sums)) + shifts;
  }
};

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[2]), blocks, scratch(inputs_bytes(blocks)));
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
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[3]), blocks, scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    const float gate = RowProduct<Format>::run(gate_planes, n, blocks, in);
    y[n] = activate(args.activation, gate) * RowProduct<Format>::run(up_planes, n, blocks, in);
  }
}

class HeadProducts {
 public:
  HeadProducts(const HeadArgs& args, const void* weight, const float* x, std::size_t extra_bytes = 0)
      : planes_(weight, args.planes), blocks_(args.columns / block_weights) {
    unsigned char* memory = scratch(extra_bytes + inputs_bytes(blocks_));
    extra_ = memory;
    inputs_ = quantise(x, blocks_, memory + extra_bytes);
  }
  float full(std::uint32_t row) const { return RowProduct<Q8_0>::run(planes_, row, blocks_, inputs_); }
  unsigned char* extra() const { return extra_; }

 private:
  Planes planes_;
  std::uint32_t blocks_;
  unsigned char* extra_;
  Inputs inputs_;
};

#define FASTGO_INT16_ROWS(name, Format) \
  {"matmul_" #name "_r1", &matmul_vector<Format>}, {"matmul_glu_" #name "_r1", &matmul_glu_vector<Format>},

}  // namespace

extern const NativeKernel matmul_int16_kernels[] = {FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_INT16_ROWS)
                                                        FASTGO_HEAD_KERNELS(HeadProducts)};
extern const NativeTable matmul_int16_table = {matmul_int16_kernels,
                                               sizeof(matmul_int16_kernels) / sizeof(matmul_int16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
