// Decode's matrix-vector products on AVX-512 VNNI: integer dot products of weights with 16-bit activations.
//
// An input block of 32 is x = scale * (256 high + low) with high and low in int8, so that two int8 dot products give
// the product of 16-bit activations: as exact as float for decode, and memory stays the limit. A weight is scale * q +
// shift with unsigned q; the shifts cost one multiply-add a block with the block's input sum.
#include "cpu/native/activation.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

extern const NativeTable matmul_table;

namespace {

constexpr std::uint32_t group_blocks = 8;  // blocks handled between two loads of scales; a super-block

// Inputs of one product, quantised. Blocks come in pairs: 64 bytes of `high` and of `low` each. In nibble order a pair
// is (block 0: 0-15, block 1: 0-15, block 0: 16-31, block 1: 16-31), as unpacked nibbles lie; else plain order.
struct Inputs {
  std::int8_t* high;
  std::int8_t* low;
  float* scales;       // a block
  float* sums;         // of a block's inputs
  float* half_scales;  // a half block of 16: the block's scale twice
  float* half_sums;    // of a half block's inputs
};

std::size_t inputs_bytes(std::uint32_t blocks) {
  const std::size_t padded = (blocks + group_blocks - 1) / group_blocks * group_blocks;
  return padded * (64 + 6 * sizeof(float));
}

Inputs place_inputs(unsigned char* memory, std::uint32_t blocks) {
  const std::size_t padded = (blocks + group_blocks - 1) / group_blocks * group_blocks;
  Inputs in;
  in.high = reinterpret_cast<std::int8_t*>(memory);
  in.low = in.high + padded * 32;
  in.scales = reinterpret_cast<float*>(in.low + padded * 32);
  in.sums = in.scales + padded;
  in.half_scales = in.sums + padded;
  in.half_sums = in.half_scales + padded * 2;
  return in;
}

void quantise_block(const float* x, std::uint32_t block, bool nibble_order, const Inputs& in) {
  const __m512 first = _mm512_loadu_ps(x + block * 32);
  const __m512 second = _mm512_loadu_ps(x + block * 32 + 16);
  const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
  const float inverse = largest > 0.0f ? 32512.0f / largest : 0.0f;
  const float scale = largest / 32512.0f;
  std::int32_t half_sums[2];
  const __m512 halves[2] = {first, second};
  const std::size_t pair = static_cast<std::size_t>(block / 2) * 64;
  for (int side = 0; side < 2; side++) {
    const __m512i value = _mm512_cvtps_epi32(_mm512_mul_ps(halves[side], _mm512_set1_ps(inverse)));
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(value, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(value, _mm512_slli_epi32(high, 8));
    const std::size_t at = nibble_order ? pair + side * 32 + block % 2 * 16 : pair + block % 2 * 32 + side * 16;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(in.high + at), _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(in.low + at), _mm512_cvtepi32_epi8(low));
    half_sums[side] = _mm512_reduce_add_epi32(value);
    in.half_scales[block * 2 + side] = scale;
    in.half_sums[block * 2 + side] = scale * static_cast<float>(half_sums[side]);
  }
  in.scales[block] = scale;
  in.sums[block] = scale * static_cast<float>(half_sums[0] + half_sums[1]);
}

Inputs quantise(const float* x, std::uint32_t blocks, bool nibble_order, unsigned char* memory) {
  const Inputs in = place_inputs(memory, blocks);
  for (std::uint32_t block = 0; block < blocks; block++) quantise_block(x, block, nibble_order, in);
  return in;
}

inline __m512i load_nibble_pair(const unsigned char* low, std::uint64_t block) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low + block * 16));
  const __m512i twice = _mm512_broadcast_i64x4(bytes);
  const __m512i shifted = _mm512_srlv_epi64(twice, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm512_and_si512(shifted, _mm512_set1_epi8(15));
}

// Two words of bits, one a block, as a mask in nibble order.
inline __mmask64 nibble_order_mask(std::uint32_t first, std::uint32_t second) {
  const std::uint64_t low = (first & 0xFFFFu) | second << 16;
  const std::uint64_t high = first >> 16 | (second & 0xFFFF0000u);
  return _cvtu64_mask64(low | high << 32);
}

inline __m512i add_fifth_bits(__m512i q, const unsigned char* high, std::uint64_t block) {
  const __mmask64 mask = nibble_order_mask(word_at(high, block), word_at(high, block + 1));
  return _mm512_mask_add_epi8(q, mask, q, _mm512_set1_epi8(16));
}

inline __m256 halves_at(const unsigned char* plane, std::uint64_t index, __mmask8 present) {
  return _mm256_cvtph_ps(_mm_maskz_loadu_epi16(present, plane + index * 2));
}

inline __m256 bytes_at(const unsigned char* plane, std::uint64_t index, __mmask8 present) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(present, plane + index)));
}

// What each format gives for a pair of blocks (unsigned q) and for a group of up to eight blocks (scales and shifts).
template <typename Format>
struct Vnni;

template <>
struct Vnni<Q8_0> {
  static constexpr bool nibble_order = false;
  static __m512i pair(const Planes& p, std::uint64_t block) {
    const __m512i q = _mm512_loadu_si512(p.low + block * 32);
    return _mm512_xor_si512(q, _mm512_set1_epi8(-128));  // q + 128, unsigned
  }
  static void affine(const Planes& p, std::uint64_t block, __mmask8 present, __m256* scale, __m256* shift) {
    *scale = halves_at(p.scales, block, present);
    *shift = _mm256_mul_ps(*scale, _mm256_set1_ps(-128.0f));
  }
};

template <std::int32_t zero, bool has_fifth_bit>
struct VnniLegacy {
  static constexpr bool nibble_order = true;
  static __m512i pair(const Planes& p, std::uint64_t block) {
    const __m512i q = load_nibble_pair(p.low, block);
    return has_fifth_bit ? add_fifth_bits(q, p.high, block) : q;
  }
  static void affine(const Planes& p, std::uint64_t block, __mmask8 present, __m256* scale, __m256* shift) {
    *scale = halves_at(p.scales, block, present);
    *shift = zero != 0 ? _mm256_mul_ps(*scale, _mm256_set1_ps(static_cast<float>(-zero)))
                       : halves_at(p.mins, block, present);
  }
};
template <>
struct Vnni<Q4_0> : VnniLegacy<8, false> {};
template <>
struct Vnni<Q4_1> : VnniLegacy<0, false> {};
template <>
struct Vnni<Q5_0> : VnniLegacy<16, true> {};
template <>
struct Vnni<Q5_1> : VnniLegacy<0, true> {};

template <bool has_fifth_bit>
struct VnniSuper {
  static constexpr bool nibble_order = true;
  static __m512i pair(const Planes& p, std::uint64_t block) { return VnniLegacy<0, has_fifth_bit>::pair(p, block); }
  static void affine(const Planes& p, std::uint64_t block, __mmask8 present, __m256* scale, __m256* shift) {
    const float super_scale = half_at(p.super_scales, block / super_block_blocks);
    const float super_min = half_at(p.super_mins, block / super_block_blocks);
    *scale = _mm256_mul_ps(bytes_at(p.scales, block, present), _mm256_set1_ps(super_scale));
    *shift = _mm256_mul_ps(bytes_at(p.mins, block, present), _mm256_set1_ps(-super_min));
  }
};
template <>
struct Vnni<Q4_K> : VnniSuper<false> {};
template <>
struct Vnni<Q5_K> : VnniSuper<true> {};

// 256 high + low, summed over the four bytes of each lane.
inline __m512 lane_products(__m512i q, const std::int8_t* high, const std::int8_t* low) {
  const __m512i high_sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, _mm512_loadu_si512(high));
  const __m512i low_sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, _mm512_loadu_si512(low));
  return _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high_sum, 8), low_sum));
}

// Lanes of a pair that belong to its first block read its scale, the others the second's.
inline __m512i pair_lanes(bool nibble_order) {
  return nibble_order ? _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1)
                      : _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
}

template <typename Format>
struct RowProduct {
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    using V = Vnni<Format>;
    const std::uint64_t first = row * blocks;
    const __m512i lanes = pair_lanes(V::nibble_order);
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m256 shifts = _mm256_setzero_ps();
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const std::uint32_t count = smaller(group_blocks, blocks - group);
      const auto present = static_cast<__mmask8>((1u << count) - 1);
      __m256 scale, shift;
      V::affine(p, first + group, present, &scale, &shift);
      shifts = _mm256_fmadd_ps(shift, _mm256_maskz_loadu_ps(present, in.sums + group), shifts);
      scale = _mm256_mul_ps(scale, _mm256_maskz_loadu_ps(present, in.scales + group));
      const __m512 scales = _mm512_castps256_ps512(scale);
      for (std::uint32_t b = 0; b < count; b += 2) {
        const std::size_t at = static_cast<std::size_t>(group + b) * 32;
        const __m512 products = lane_products(V::pair(p, first + group + b), in.high + at, in.low + at);
        const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(b)));
        sums[b / 2 % 2] = _mm512_fmadd_ps(products, _mm512_permutexvar_ps(index, scales), sums[b / 2 % 2]);
      }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_zextps256_ps512(shifts)));
  }
};

// Sixteen weights a scale, so the halves of a block have scales of their own.
template <>
struct Vnni<Q6_K> {
  static constexpr bool nibble_order = true;
  static __m512i pair(const Planes& p, std::uint64_t block) {
    const __m512i q = load_nibble_pair(p.low, block);
    const __mmask64 fifth = nibble_order_mask(word_at(p.high, block * 2), word_at(p.high, block * 2 + 2));
    const __mmask64 sixth = nibble_order_mask(word_at(p.high, block * 2 + 1), word_at(p.high, block * 2 + 3));
    const __m512i with_fifth = _mm512_mask_add_epi8(q, fifth, q, _mm512_set1_epi8(16));
    return _mm512_mask_add_epi8(with_fifth, sixth, with_fifth, _mm512_set1_epi8(32));
  }
};

template <>
struct RowProduct<Q6_K> {
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    const std::uint64_t first = row * blocks;
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 1, 1, 1, 1, 3, 3, 3, 3);
    __m512 sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512 shifts = _mm512_setzero_ps();
    for (std::uint32_t group = 0; group < blocks; group += group_blocks) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + (first + group) * 2));
      const __m512 weight_scales =
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)),
                        _mm512_set1_ps(half_at(p.super_scales, (first + group) / group_blocks)));
      const __m512 shift = _mm512_mul_ps(weight_scales, _mm512_set1_ps(static_cast<float>(-Q6_K::zero)));
      shifts = _mm512_fmadd_ps(shift, _mm512_loadu_ps(in.half_sums + group * 2), shifts);
      const __m512 scales = _mm512_mul_ps(weight_scales, _mm512_loadu_ps(in.half_scales + group * 2));
      for (std::uint32_t b = 0; b < group_blocks; b += 2) {
        const std::size_t at = static_cast<std::size_t>(group + b) * 32;
        const __m512 products = lane_products(Vnni<Q6_K>::pair(p, first + group + b), in.high + at, in.low + at);
        const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(b * 2)));
        sums[b / 2 % 2] = _mm512_fmadd_ps(products, _mm512_permutexvar_ps(index, scales), sums[b / 2 % 2]);
      }
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), shifts));
  }
};

// Blocks are read in pairs, so a row of an odd number of blocks is left to the float kernel.
inline bool fits(std::uint32_t columns) { return columns % 64 == 0; }

inline RunRange float_kernel(const char* name) {
  for (std::size_t i = 0; i < matmul_table.count; i++) {
    if (std::strcmp(matmul_table.kernels[i].name, name) == 0) return matmul_table.kernels[i].run;
  }
  return nullptr;
}

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end, const char* name) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  if (!fits(args.columns)) return float_kernel(name)(launch, begin, end);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[2]), blocks, Vnni<Format>::nibble_order,
                             scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    y[n] = RowProduct<Format>::run(planes, n, blocks, in);
  }
}

template <typename Format>
void matmul_glu_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end, const char* name) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  if (!fits(args.columns)) return float_kernel(name)(launch, begin, end);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[3]), blocks, Vnni<Format>::nibble_order,
                             scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    const float gate = RowProduct<Format>::run(gate_planes, n, blocks, in);
    y[n] = activate(args.activation, gate) * RowProduct<Format>::run(up_planes, n, blocks, in);
  }
}

#define FASTGO_VNNI_ENTRIES(name, Format)                                                \
  void run_matmul_##name(const Launch& launch, std::uint64_t begin, std::uint64_t end) { \
    matmul_vector<Format>(launch, begin, end, "matmul_" #name "_r1");                    \
  }                                                                                      \
  void run_glu_##name(const Launch& launch, std::uint64_t begin, std::uint64_t end) {    \
    matmul_glu_vector<Format>(launch, begin, end, "matmul_glu_" #name "_r1");            \
  }
#define FASTGO_VNNI_ROWS(name, Format) \
  {"matmul_" #name "_r1", &run_matmul_##name}, {"matmul_glu_" #name "_r1", &run_glu_##name},
#define FASTGO_FOR_EACH_VNNI_FORMAT(MACRO) \
  MACRO(q8_0, Q8_0)                        \
  MACRO(q4_0, Q4_0)                        \
  MACRO(q4_1, Q4_1)                        \
  MACRO(q5_0, Q5_0)                        \
  MACRO(q5_1, Q5_1)                        \
  MACRO(q4_k, Q4_K)                        \
  MACRO(q5_k, Q5_K)                        \
  MACRO(q6_k, Q6_K)

FASTGO_FOR_EACH_VNNI_FORMAT(FASTGO_VNNI_ENTRIES)

}  // namespace

extern const NativeKernel matmul_vnni_kernels[] = {FASTGO_FOR_EACH_VNNI_FORMAT(FASTGO_VNNI_ROWS)};
extern const NativeTable matmul_vnni_table = {matmul_vnni_kernels,
                                              sizeof(matmul_vnni_kernels) / sizeof(matmul_vnni_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
