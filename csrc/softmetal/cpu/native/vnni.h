// Integer dot products on AVX-512 VNNI, as decode uses them: inputs in 16 bits, weights unpacked by quads of blocks.
//
// An input block of 32 is x = scale * (256 high + low) with high and low in int8, so that two int8 dot products give
// the product of 16-bit activations: as exact as float for decode, and memory stays the limit. A weight is scale * q +
// shift with unsigned q; the shifts cost one multiply-add a block with the block's input sum.
#pragma once

#include <cstring>

#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"

namespace softmetal::cpu::native::FASTGO_ISA {

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

inline std::uint32_t whole_groups(std::uint32_t blocks) {
  return (blocks + group_blocks - 1) / group_blocks * group_blocks;
}

inline std::size_t inputs_bytes(std::uint32_t blocks) {
  return static_cast<std::size_t>(whole_groups(blocks)) * (64 + 6 * sizeof(float));
}

inline Inputs place_inputs(unsigned char* memory, std::uint32_t blocks) {
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

// 32 inputs in 16 bits: scale * integer.
struct SixteenBits {
  __m512i halves[2];
  float scale;
};

// The larger magnitudes as a float's bits, which are in order: NaN is above all, where a float's maximum may lose it.
inline __m512i larger_magnitude(__m512i most, __m512 x) {
  return _mm512_max_epi32(most, _mm512_castps_si512(_mm512_abs_ps(x)));
}

inline float largest_magnitude(__m512i most) {
  const std::int32_t bits = _mm512_reduce_max_epi32(most);
  float largest;
  std::memcpy(&largest, &bits, sizeof largest);
  return largest;
}

inline SixteenBits to_sixteen_bits(__m512 first, __m512 second) {
  const float largest = largest_magnitude(larger_magnitude(larger_magnitude(_mm512_setzero_si512(), first), second));
  const __m512 inverse = _mm512_set1_ps(largest > 0.0f ? 32512.0f / largest : 0.0f);
  return {{_mm512_cvtps_epi32(_mm512_mul_ps(first, inverse)), _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse))},
          largest / 32512.0f};
}

// Such an integer as 256 high + low, both in eight bits.
struct HighLow {
  __m128i high, low;
};

inline HighLow split(__m512i value) {
  const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(value, _mm512_set1_epi32(128)), 8);
  const __m512i low = _mm512_sub_epi32(value, _mm512_slli_epi32(high, 8));
  return {_mm512_cvtepi32_epi8(high), _mm512_cvtepi32_epi8(low)};
}

inline void quantise_block(__m512 first, __m512 second, std::uint32_t block, bool nibble_order, const Inputs& in) {
  const SixteenBits x = to_sixteen_bits(first, second);
  float half_sums[2];
  const std::size_t start = static_cast<std::size_t>(block) * 32, quad = static_cast<std::size_t>(block / 4) * 128;
  for (int side = 0; side < 2; side++) {
    const HighLow parts = split(x.halves[side]);
    const std::size_t at = nibble_order ? quad + side * 64 + block % 4 * 16 : start + side * 16;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(in.high + at), parts.high);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(in.low + at), parts.low);
    // Exact, as integers would be; of inputs that are not finite integers would overflow.
    half_sums[side] = _mm512_reduce_add_ps(_mm512_cvtepi32_ps(x.halves[side]));
    in.half_scales[block * 2 + side] = x.scale;
    in.half_sums[block * 2 + side] = x.scale * half_sums[side];
  }
  in.scales[block] = x.scale;
  in.sums[block] = x.scale * (half_sums[0] + half_sums[1]);
}

inline Inputs quantise(const float* x, std::uint32_t blocks, bool nibble_order, unsigned char* memory) {
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

// Brings what a thread reads next into the cache: the processor's own fetching stops at the end of each page.
inline void fetch_ahead(const unsigned char* at) {
  constexpr std::uint32_t distance = 2048;
  _mm_prefetch(reinterpret_cast<const char*>(at) + distance, _MM_HINT_T0);
}

inline Quad load_quad(const unsigned char* low, std::uint64_t block) {
  fetch_ahead(low + block * 16);
  const __m512i bytes = _mm512_loadu_si512(low + block * 16);
  const __m512i mask = _mm512_set1_epi8(15);
  return {_mm512_and_si512(bytes, mask), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask)};
}

// Where bits of four blocks are set: of the first and of the last sixteen weights of each.
struct QuadBits {
  __mmask64 first, last;
};

// One word a block.
inline QuadBits fifth_bits(const unsigned char* words, std::uint64_t block) {
  const __m128i order = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  const __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words + block * 4));
  const __m128i bits = _mm_shuffle_epi8(four, order);
  return {_cvtu64_mask64(static_cast<std::uint64_t>(_mm_cvtsi128_si64(bits))),
          _cvtu64_mask64(static_cast<std::uint64_t>(_mm_extract_epi64(bits, 1)))};
}

inline Quad add_where(Quad q, QuadBits bits, char value) {
  const __m512i addend = _mm512_set1_epi8(value);
  return {_mm512_mask_add_epi8(q.first, bits.first, q.first, addend),
          _mm512_mask_add_epi8(q.last, bits.last, q.last, addend)};
}

// Q6_K's integers: two words a block, of its fifth and of its sixth bits.
inline Quad load_six_bits(const Planes& p, std::uint64_t block) {
  const __m256i order =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
  const __m256i words = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p.high + block * 8));
  const __m256i pairs = _mm256_shuffle_epi8(words, order);
  const __m256i bits = _mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  std::uint64_t masks[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(masks), bits);
  const Quad q = add_where(load_quad(p.low, block), {_cvtu64_mask64(masks[0]), _cvtu64_mask64(masks[1])}, 16);
  return add_where(q, {_cvtu64_mask64(masks[2]), _cvtu64_mask64(masks[3])}, 32);
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
    return has_fifth_bit ? add_where(q, fifth_bits(p.high, block), 16) : q;
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
inline __m512 products(__m512i q, const std::int8_t* high, const std::int8_t* low) {
  const __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q, load_input(high));
  return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(_mm512_slli_epi32(sum, 8), q, load_input(low)));
}

// The same for a quad, whose two registers share their lanes' scales.
inline __m512 products(const Quad& q, const std::int8_t* high, const std::int8_t* low) {
  __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), q.first, load_input(high));
  sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(sum, q.last, load_input(high + 64)), 8);
  sum = _mm512_dpbusd_epi32(sum, q.first, load_input(low));
  return _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(sum, q.last, load_input(low + 64)));
}

// Spreads the scales of a group's blocks over lanes: four lanes a block for a quad, eight for a pair of blocks.
inline __m512 spread_to_quad(__m512 scales, int quad) {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(quad * 4)), scales);
}
inline __m512 spread_to_pair(__m512 scales, int pair) {
  const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  return _mm512_permutexvar_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32(pair * 2)), scales);
}

inline __mmask8 present_blocks(std::uint32_t blocks, std::uint32_t group) {
  return static_cast<__mmask8>((1u << smaller(group_blocks, blocks - group)) - 1);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
