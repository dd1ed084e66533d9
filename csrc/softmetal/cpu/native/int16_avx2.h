// Blocks of weights as integers and their products with 16-bit inputs on AVX2: both are widened to 16 bits.
#pragma once

#include "cpu/native/weights.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr float largest_input = 32767.0f;

// The inputs of one block.
struct BlockInputs {
  std::int16_t values[block_weights];

  void set(std::uint32_t j, std::int32_t q) { values[j] = static_cast<std::int16_t>(q); }
};

// A block's integers: its first and its last sixteen.
struct Halves {
  __m256i first, last;
};

inline Halves load_nibbles(const unsigned char* low, std::uint64_t block) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low + block * 16));
  const __m128i mask = _mm_set1_epi8(15);
  return {_mm256_cvtepu8_epi16(_mm_and_si128(bytes, mask)),
          _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(bytes, 4), mask))};
}

inline Halves load_bytes(const unsigned char* low, std::uint64_t block) {
  const auto* bytes = reinterpret_cast<const __m128i*>(low + block * 32);
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(bytes)), _mm256_cvtepi8_epi16(_mm_loadu_si128(bytes + 1))};
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

inline Halves subtract(Halves q, std::int32_t zero) {
  const __m256i value = _mm256_set1_epi16(static_cast<std::int16_t>(zero));
  return {_mm256_sub_epi16(q.first, value), _mm256_sub_epi16(q.last, value)};
}

// Products of sixteen weights with the first (side 0) or last inputs of a block, some added up in each lane.
inline IntVector products(__m256i half, const BlockInputs& in, int side) {
  const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in.values + side * 16));
  return reinterpret_cast<IntVector>(_mm256_madd_epi16(half, x));
}

inline IntVector products(const Halves& q, const BlockInputs& in) {
  return products(q.first, in, 0) + products(q.last, in, 1);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
