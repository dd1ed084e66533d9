// How a cache keeps rows of head_dim keys or values, as shaders/include/cache_row.h says: floats of type T, or
// (T = std::int8_t) integers with a half a row that multiplies them, or (T = Nibbles) two integers a byte with a half a
// group. Those scales lie behind all rows.
#pragma once

#include <cstddef>
#include <type_traits>

#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

template <typename T>
constexpr bool has_row_scales = std::is_same_v<T, std::int8_t>;

// Two elements of four bits, each plus 8, the first in the lower bits.
struct Nibbles {
  std::uint8_t bits;
};

constexpr std::int32_t nibble_zero = 8;

// Attention reads nibbles as floats, into which they are unpacked, and all else as it is.
template <typename T>
constexpr bool is_packed = std::is_same_v<T, Nibbles>;

// Elements that share a scale of a row of nibbles: the largest power of two in head_dim, at most 32.
inline std::uint32_t scale_group(std::uint32_t head_dim) { return smaller(32, head_dim & (~head_dim + 1)); }

// A stretch of rows. Without scales `scales` has no meaning.
template <typename T>
struct CacheRows {
  T* elements;
  std::uint16_t* scales;
};

// The rows from `first` on, of a cache of `count` rows.
template <typename T>
CacheRows<T> cache_rows(void* cache, std::size_t count, std::size_t first, std::uint32_t head_dim) {
  T* elements = static_cast<T*>(cache);
  if constexpr (is_packed<T>) {
    const std::size_t row = head_dim / 2, groups = head_dim / scale_group(head_dim);
    return {elements + first * row, reinterpret_cast<std::uint16_t*>(elements + count * row) + first * groups};
  }
  return {elements + first * head_dim, reinterpret_cast<std::uint16_t*>(elements + count * head_dim) + first};
}

// Of a row of scores or weights: what the elements behind them are to be multiplied with.
inline void multiply_by_scales(float* x, const std::uint16_t* scales, std::uint32_t count) {
  std::uint32_t p = 0;
  for (; p + width <= count; p += width) store(x + p, load(x + p) * load_as_float(scales + p));
  for (; p < count; p++) x[p] *= half_to_float(scales[p]);
}

// The half that is nearest to a step between integers, but not below it, so that they reach far enough.
inline std::uint16_t half_scale(float step) {
  const float reachable = step < 65504.0f ? step : 65504.0f;
  const std::uint16_t nearest = float_to_half(reachable);
  return static_cast<std::uint16_t>(half_to_float(nearest) < reachable ? nearest + 1 : nearest);
}

// The half of which `most` steps reach the largest magnitude of x.
inline std::uint16_t scale_of(const float* x, std::uint32_t count, float most) {
  float largest = 0.0f;
  for (std::uint32_t i = 0; i < count; i++) {
    const float magnitude = __builtin_fabsf(x[i]);
    largest = magnitude > largest ? magnitude : largest;
  }
  return half_scale(largest / most);
}

inline std::int32_t steps_of(float x, float scale, float most) {
  const float steps = scale > 0.0f ? __builtin_rintf(x / scale) : 0.0f;
  return static_cast<std::int32_t>(steps > most ? most : steps >= -most ? steps : -most);
}

// A vector of floats as consecutive elements of a cache.
template <typename T>
void store_vector(T* p, Vector v) {
  for (int i = 0; i < width; i++) store_from_float(p + i, v[i]);
}

#if defined(__AVX512F__) || defined(__AVX2__)
inline void store_vector(std::uint16_t* p, Vector v) {
#if defined(__AVX512F__)
  const __m256i halves = _mm512_cvtps_ph(reinterpret_cast<__m512>(v), _MM_FROUND_TO_NEAREST_INT);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), halves);
#else
  const __m128i halves = _mm256_cvtps_ph(reinterpret_cast<__m256>(v), _MM_FROUND_TO_NEAREST_INT);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), halves);
#endif
}
#endif

// Stores one row of floats.
template <typename T>
void store_row(const float* x, std::uint32_t head_dim, CacheRows<T> row) {
  if constexpr (has_row_scales<T>) {
    *row.scales = scale_of(x, head_dim, 127.0f);
    const float scale = half_to_float(*row.scales);
    for (std::uint32_t i = 0; i < head_dim; i++) {
      row.elements[i] = static_cast<std::int8_t>(steps_of(x[i], scale, 127.0f));
    }
  } else if constexpr (is_packed<T>) {
    const std::uint32_t group = scale_group(head_dim);
    for (std::uint32_t i = 0; i < head_dim; i += 2) {
      if (i % group == 0) row.scales[i / group] = scale_of(x + i, group, 7.0f);
      const float scale = half_to_float(row.scales[i / group]);
      const std::int32_t first = steps_of(x[i], scale, 7.0f) + nibble_zero;
      const std::int32_t second = steps_of(x[i + 1], scale, 7.0f) + nibble_zero;
      row.elements[i / 2].bits = static_cast<std::uint8_t>(first | second << 4);
    }
  } else {
    std::uint32_t i = 0;
    for (; i + width <= head_dim; i += width) store_vector(row.elements + i, load(x + i));
    for (; i < head_dim; i++) store_from_float(row.elements + i, x[i]);
  }
}

// `count` rows as floats.
inline void unpack_rows(CacheRows<Nibbles> rows, std::size_t count, std::uint32_t head_dim, float* out) {
  const std::uint32_t group = scale_group(head_dim);
  const std::size_t groups = count * (head_dim / group);
  for (std::size_t g = 0; g < groups; g++) {
    const float scale = half_to_float(rows.scales[g]);
    const Nibbles* pairs = rows.elements + g * (group / 2);
    float* values = out + g * group;
    for (std::uint32_t i = 0; i < group / 2; i++) {
      const std::int32_t bits = pairs[i].bits;
      values[2 * i] = static_cast<float>((bits & 15) - nibble_zero) * scale;
      values[2 * i + 1] = static_cast<float>((bits >> 4) - nibble_zero) * scale;
    }
  }
}

template <typename T>
void copy_row(CacheRows<T> from, std::uint32_t head_dim, CacheRows<T> to) {
  if constexpr (is_packed<T>) {
    std::memcpy(to.elements, from.elements, head_dim / 2);
    std::memcpy(to.scales, from.scales, head_dim / scale_group(head_dim) * sizeof(std::uint16_t));
    return;
  }
  std::memcpy(to.elements, from.elements, head_dim * sizeof(T));
  if constexpr (has_row_scales<T>) *to.scales = *from.scales;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
