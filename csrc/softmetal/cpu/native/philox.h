// Philox 4x32-10 for one counter and for a vector of them; see shaders/include/philox.h.
#pragma once

#include <cstdint>

#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

typedef std::uint32_t WordVector __attribute__((vector_size(width * 4)));

// The upper and lower halves of x * factor.
template <typename Words>
struct Product {
  Words high, low;
};

inline Product<std::uint32_t> multiply(std::uint32_t x, std::uint32_t factor) {
  const std::uint64_t product = std::uint64_t{x} * factor;
  return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product)};
}

inline Product<WordVector> multiply(WordVector x, std::uint32_t factor) {
#if defined(__AVX512F__)
  const auto a = reinterpret_cast<__m512i>(x), b = _mm512_set1_epi32(static_cast<int>(factor));
  const __m512i even = _mm512_mul_epu32(a, b), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);
  return {reinterpret_cast<WordVector>(_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd)),
          reinterpret_cast<WordVector>(_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32)))};
#elif defined(__AVX2__)
  const auto a = reinterpret_cast<__m256i>(x), b = _mm256_set1_epi32(static_cast<int>(factor));
  const __m256i even = _mm256_mul_epu32(a, b), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
  return {reinterpret_cast<WordVector>(_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA)),
          reinterpret_cast<WordVector>(_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA))};
#else
  typedef std::uint64_t LongVector __attribute__((vector_size(width * 8)));
  const LongVector product = __builtin_convertvector(x, LongVector) * factor;
  return {__builtin_convertvector(product >> 32, WordVector), __builtin_convertvector(product, WordVector)};
#endif
}

// The four words of each counter (counter, position, 0, 0).
template <typename Words>
inline void philox(std::uint32_t key0, std::uint32_t key1, Words counter, std::uint32_t position, Words words[4]) {
  Words c0 = counter, c1 = Words{} + position, c2 = Words{}, c3 = Words{};
  for (int round = 0; round < 10; round++) {
    const Product<Words> product0 = multiply(c0, 0xD2511F53u), product1 = multiply(c2, 0xCD9E8D57u);
    c0 = product1.high ^ c1 ^ key0;
    c1 = product1.low;
    c2 = product0.high ^ c3 ^ key1;
    c3 = product0.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
