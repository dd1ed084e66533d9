// Scores of cached keys and sums of cached values, whatever the cache keeps them as. Packed rows are unpacked a few at
// a time, so that a thread's memory does not grow with the context.
#pragma once

#include "cpu/native/attention_row.h"
#include "cpu/native/cache_row.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t span_rows = 64;  // a multiple of `width`, as scores are written in whole vectors

// Floats of scratch memory that a packed cache needs: unpacked rows, and sums of one span.
template <typename T>
std::size_t unpacked_floats(std::uint32_t head_dim) {
  return is_packed<T> ? std::size_t{span_rows + group_heads} * head_dim : 0;
}

inline CacheRows<Nibbles> rows_from(CacheRows<Nibbles> rows, std::size_t first, std::uint32_t head_dim) {
  return {rows.elements + first * (head_dim / 2), rows.scales + first * (head_dim / scale_group(head_dim))};
}

// As score_keys; without the scales of int8 rows.
template <typename T, int heads>
void score_cache(const float* queries, CacheRows<T> keys, std::uint32_t count, std::uint32_t head_dim, float scale,
                 float* scores, std::size_t stride, float* unpacked, CacheRows<T> next) {
  if constexpr (is_packed<T>) {
    for (std::uint32_t first = 0; first < count; first += span_rows) {
      const std::uint32_t rows = smaller(span_rows, count - first);
      unpack_rows(rows_from(keys, first, head_dim), rows, head_dim, unpacked);
      score_keys<float, heads>(queries, unpacked, rows, head_dim, scale, scores + first, stride, unpacked);
    }
  } else {
    score_keys<T, heads>(queries, keys.elements, count, head_dim, scale, scores, stride, next.elements);
  }
}

// As sum_values; without the scales of int8 rows.
template <typename T, int heads>
void sum_cache(const float* weights, std::size_t stride, CacheRows<T> values, std::uint32_t count,
               std::uint32_t head_dim, float* out, float* unpacked, CacheRows<T> next) {
  if constexpr (is_packed<T>) {
    float* sums = unpacked + std::size_t{span_rows} * head_dim;
    for (std::uint32_t i = 0; i < heads * head_dim; i++) out[i] = 0.0f;
    for (std::uint32_t first = 0; first < count; first += span_rows) {
      const std::uint32_t rows = smaller(span_rows, count - first);
      unpack_rows(rows_from(values, first, head_dim), rows, head_dim, unpacked);
      sum_values<float, heads>(weights + first, stride, unpacked, rows, head_dim, sums, unpacked);
      for (std::uint32_t i = 0; i < heads * head_dim; i++) out[i] += sums[i];
    }
  } else {
    sum_values<T, heads>(weights, stride, values.elements, count, head_dim, out, next.elements);
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
