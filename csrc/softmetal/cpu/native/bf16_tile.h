// Products of bfloat16 rows with a panel of 32 outputs on AVX-512 BF16; what matmul and attention of many rows share.
//
// A panel is laid out as (pairs of columns, 32 outputs, 2), so that one instruction multiplies a pair of columns of 16
// outputs with a broadcast pair of inputs.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t panel_outputs = 32;
constexpr int lane_count = 16;

// Two floats of each of 16 lanes as 16 pairs of bfloat16.
inline __m512i round_pairs(__m512 first, __m512 second) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first));
}

constexpr float log2_of_e = 1.44269504f, log_of_2 = 0.693147181f;

// 2^x to 1e-4, finer than a bfloat16; infinity beyond floats. What is left of x beyond its whole part is in [0, 1).
inline __m512 coarse_power(__m512 x) {
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(7.802452e-2f), f, _mm512_set1_ps(2.2606718e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9583352e-1f));
  return _mm512_scalef_ps(_mm512_fmadd_ps(p, f, _mm512_set1_ps(9.9992522e-1f)), x);
}

// Transposes 16 x 16 words: row i of the result holds word i of every row.
__attribute__((always_inline)) inline void transpose(__m512i rows[16]) {
  __m512i a[16], b[16];
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    const __m512i low = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), high = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xDD);
    const __m512i low2 = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88);
    const __m512i high2 = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xDD);
    rows[i] = _mm512_shuffle_i32x4(low, low2, 0x88);
    rows[i + 4] = _mm512_shuffle_i32x4(high, high2, 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(low, low2, 0xDD);
    rows[i + 12] = _mm512_shuffle_i32x4(high, high2, 0xDD);
  }
}

// c (rows, panel_outputs) = inputs . panel; rows of inputs are `stride` bytes apart, rows of c `c_stride` floats.
template <int rows>
inline void multiply(const unsigned char* inputs, std::size_t stride, std::uint32_t pairs, const unsigned char* panel,
                     float* c, std::size_t c_stride) {
  __m512 sums[rows][2];
  for (int m = 0; m < rows; m++) sums[m][0] = sums[m][1] = _mm512_setzero_ps();
  for (std::uint32_t p = 0; p < pairs; p++) {
    const auto* weights = reinterpret_cast<const __m512i*>(panel) + static_cast<std::size_t>(p) * 2;
    const auto first = reinterpret_cast<__m512bh>(_mm512_load_si512(weights));
    const auto second = reinterpret_cast<__m512bh>(_mm512_load_si512(weights + 1));
    for (int m = 0; m < rows; m++) {
      std::int32_t pair;
      std::memcpy(&pair, inputs + m * stride + static_cast<std::size_t>(p) * 4, sizeof pair);
      const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
      sums[m][0] = _mm512_dpbf16_ps(sums[m][0], first, x);
      sums[m][1] = _mm512_dpbf16_ps(sums[m][1], second, x);
    }
  }
  for (int m = 0; m < rows; m++) {
    _mm512_storeu_ps(c + m * c_stride, sums[m][0]);
    _mm512_storeu_ps(c + m * c_stride + lane_count, sums[m][1]);
  }
}

inline void multiply_rows(const unsigned char* inputs, std::size_t stride, std::uint32_t rows, std::uint32_t pairs,
                          const unsigned char* panel, float* c, std::size_t c_stride) {
  std::uint32_t m = 0;
  const auto step = [&](auto multiply_some, std::uint32_t count) {
    for (; m + count <= rows; m += count) {
      multiply_some(inputs + m * stride, stride, pairs, panel, c + m * c_stride, c_stride);
    }
  };
  step(&multiply<12>, 12);
  step(&multiply<4>, 4);
  step(&multiply<1>, 1);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
