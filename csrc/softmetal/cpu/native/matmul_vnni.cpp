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

namespace {

constexpr std::uint32_t group_blocks = 8;  // blocks handled between two loads of scales; a super-block

// Inputs of one product, quantised and padded with zeros to whole groups. A row of weights may be read up to the end of
// its last group: what is read beyond the row meets zeros. In nibble order four blocks lie as (16 first inputs of
// each, 16 last inputs of each), as their nibbles do; else in plain order.
struct Inputs {
  std::int8_t* high;
  std::int8_t* low;
  float* scales;       // a block
  float* sums;         // of a block's inputs
  float* half_scales;  // a half block of 16: the block's scale twice
  float* half_sums;    // of a half block's inputs
};

std::uint32_t whole_groups(std::uint32_t blocks) { return (blocks + group_blocks - 1) / group_blocks * group_blocks; }

std::size_t inputs_bytes(std::uint32_t blocks) {
  return static_cast<std::size_t>(whole_groups(blocks)) * (64 + 6 * sizeof(float));
}

Inputs place_inputs(unsigned char* memory, std::uint32_t blocks) {
  const std::size_t padded = whole_groups(blocks);
  Inputs in;
  in.high = reinterpret_cast<std::int8_t*>(memory);
  in.low = in.high + padded * 32;
  in.scales = reinterpret_cast<float*>(in.low + padded * 32);
  in.sums = in.scales + padded;
  in.half_scales = in.sums + padded;
  in.half_sums = in.half_scales + padded * 2;
  return in;
}

void quantise_block(__m512 first, __m512 second, std::uint32_t block, bool nibble_order, const Inputs& in) {
  const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(first), _mm512_abs_ps(second)));
  const float inverse = largest > 0.0f ? 32512.0f / largest : 0.0f;
  const float scale = largest / 32512.0f;
  std::int32_t half_sums[2];
  const __m512 halves[2] = {first, second};
  const std::size_t start = static_cast<std::size_t>(block) * 32, quad = static_cast<std::size_t>(block / 4) * 128;
  for (int side = 0; side < 2; side++) {
    const __m512i value = _mm512_cvtps_epi32(_mm512_mul_ps(halves[side], _mm512_set1_ps(inverse)));
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(value, _mm512_set1_epi32(128)), 8);
    const __m512i low = _mm512_sub_epi32(value, _mm512_slli_epi32(high, 8));
    const std::size_t at = nibble_order ? quad + side * 64 + block % 4 * 16 : start + side * 16;
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
  for (std::uint32_t block = 0; block < blocks; block++) {
    quantise_block(_mm512_loadu_ps(x + block * 32), _mm512_loadu_ps(x + block * 32 + 16), block, nibble_order, in);
  }
  for (std::uint32_t block = blocks; block < whole_groups(blocks); block++) {
    quantise_block(_mm512_setzero_ps(), _mm512_setzero_ps(), block, nibble_order, in);
  }
  return in;
}

// Four blocks of nibbles: the first and the last sixteen weights of each.
struct Quad {
  __m512i first, last;
};

inline Quad load_quad(const unsigned char* low, std::uint64_t block) {
  const __m512i bytes = _mm512_loadu_si512(low + block * 16);
  const __m512i mask = _mm512_set1_epi8(15);
  return {_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)};
}

// Adds `value` where the bits of four words, one a block and `stride` words apart, are set.
inline Quad add_high_bits(Quad q, const unsigned char* words, std::uint64_t index, int stride, char value) {
  std::uint64_t first = 0, last = 0;
  for (int b = 3; b >= 0; b--) {
    const std::uint32_t word = word_at(words, index + static_cast<std::uint64_t>(b * stride));
    first = first << 16 | (word & 0xFFFFu);
    last = last << 16 | word >> 16;
  }
  const __m512i addend = _mm512_set1_epi8(value);
  return {_mm512_mask_add_epi8(q.first, _cvtu64_mask64(first), q.first, addend),
          _mm512_mask_add_epi8(q.last, _cvtu64_mask64(last), q.last, addend)};
}

inline __m256 halves_at(const unsigned char* plane, std::uint64_t index, __mmask8 present) {
  return _mm256_cvtph_ps(_mm_maskz_loadu_epi16(present, plane + index * 2));
}

inline __m256 bytes_at(const unsigned char* plane, std::uint64_t index, __mmask8 present) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_maskz_loadu_epi8(present, plane + index)));
}

// The scales and shifts of a group of up to eight blocks.
struct GroupAffine {
  __m256 scale, shift;
};

// Formats of nibbles with one scale a block: `quad` gives unsigned q, `affine` what makes floats of them.
template <typename Format>
struct Vnni;

template <std::int32_t zero, bool has_fifth_bit>
struct VnniLegacy {
  static Quad quad(const Planes& p, std::uint64_t block) {
    const Quad q = load_quad(p.low, block);
    return has_fifth_bit ? add_high_bits(q, p.high, block, 1, 16) : q;
  }
  static GroupAffine affine(const Planes& p, std::uint64_t block, __mmask8 present) {
    const __m256 scale = halves_at(p.scales, block, present);
    return {scale, zero != 0 ? _mm256_mul_ps(scale, _mm256_set1_ps(static_cast<float>(-zero)))
                             : halves_at(p.mins, block, present)};
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
  static Quad quad(const Planes& p, std::uint64_t block) { return VnniLegacy<0, has_fifth_bit>::quad(p, block); }
  static GroupAffine affine(const Planes& p, std::uint64_t block, __mmask8 present) {
    const float super_scale = half_at(p.super_scales, block / super_block_blocks);
    const float super_min = half_at(p.super_mins, block / super_block_blocks);
    return {_mm256_mul_ps(bytes_at(p.scales, block, present), _mm256_set1_ps(super_scale)),
            _mm256_mul_ps(bytes_at(p.mins, block, present), _mm256_set1_ps(-super_min))};
  }
};
template <>
struct Vnni<Q4_K> : VnniSuper<false> {};
template <>
struct Vnni<Q5_K> : VnniSuper<true> {};

inline __m512i load_input(const std::int8_t* p) { return _mm512_load_si512(p); }

// 256 high + low of one register of weights, summed over the four bytes of each lane.
inline __m512 products(__m512i q, const Inputs& in, std::size_t at) {
  const __m512i high = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_input(in.high + at));
  return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_slli_epi32(high, 8), q, load_input(in.low + at)));
}

// The same for a quad, whose two registers share their lanes' scales.
inline __m512 products(const Quad& q, const Inputs& in, std::size_t at) {
  __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q.first, load_input(in.high + at));
  sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(sum, q.last, load_input(in.high + at + 64)), 8);
  sum = _mm512_dpbusd_epi32(sum, q.first, load_input(in.low + at));
  return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(sum, q.last, load_input(in.low + at + 64)));
}

inline __mmask8 present_blocks(std::uint32_t blocks, std::uint32_t group) {
  return static_cast<__mmask8>((1u << smaller(group_blocks, blocks - group)) - 1);
}

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
        const __m512 terms = products(Vnni<Format>::quad(p, first + block), in, static_cast<std::size_t>(block) * 32);
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
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
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
        const __m512i q = _mm512_xor_si512(_mm512_loadu_si512(bytes + pair * 64), flip);
        const __m512 terms = products(q, in, (static_cast<std::size_t>(group) + pair * 2) * 32);
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
        Quad q = load_quad(p.low, block);
        q = add_high_bits(q, p.high, block * 2, 2, 16);
        q = add_high_bits(q, p.high, block * 2 + 1, 2, 32);
        const std::size_t at = (static_cast<std::size_t>(group) + quad * 4) * 32;
        const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(quad * 8)));
        const __m512i next = _mm512_add_epi32(index, _mm512_set1_epi32(1));
        sums[0] = _mm512_fmadd_ps(products(q.first, in, at), _mm512_permutexvar_ps(index, scales), sums[0]);
        sums[1] = _mm512_fmadd_ps(products(q.last, in, at + 64), _mm512_permutexvar_ps(next, scales), sums[1]);
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
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    const float gate = RowProduct<Format>::run(gate_planes, n, blocks, in);
    y[n] = activate(args.activation, gate) * RowProduct<Format>::run(up_planes, n, blocks, in);
  }
}

#define FASTGO_VNNI_ROWS(name, Format) \
  {"matmul_" #name "_r1", &matmul_vector<Format>}, {"matmul_glu_" #name "_r1", &matmul_glu_vector<Format>},

}  // namespace

extern const NativeKernel matmul_vnni_kernels[] = {FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_VNNI_ROWS)};
extern const NativeTable matmul_vnni_table = {matmul_vnni_kernels,
                                              sizeof(matmul_vnni_kernels) / sizeof(matmul_vnni_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
