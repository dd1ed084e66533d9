// How a cache keeps rows of head_dim keys or values, as shaders/include/cache_row.h says: floats of type T, or
// (T = std::int8_t) integers with a half a row that multiplies them. Those scales lie behind all rows.
#pragma once

#include <cstddef>
#include <type_traits>

#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

template <typename T>
constexpr bool has_row_scales = std::is_same_v<T, std::int8_t>;

// A stretch of rows. Without row scales `scales` has no meaning.
template <typename T>
struct CacheRows {
  T* elements;
  std::uint16_t* scales;
};

// The rows from `first` on, of a cache of `count` rows.
template <typename T>
CacheRows<T> cache_rows(void* cache, std::size_t count, std::size_t first, std::uint32_t head_dim) {
  T* elements = static_cast<T*>(cache);
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

// Stores one row of floats.
template <typename T>
void store_row(const float* x, std::uint32_t head_dim, CacheRows<T> row) {
  if constexpr (has_row_scales<T>) {
    float largest = 0.0f;
    for (std::uint32_t i = 0; i < head_dim; i++) {
      const float magnitude = __builtin_fabsf(x[i]);
      largest = magnitude > largest ? magnitude : largest;
    }
    *row.scales = half_scale(largest / 127.0f);
    const float scale = half_to_float(*row.scales);
    for (std::uint32_t i = 0; i < head_dim; i++) {
      const float steps = scale > 0.0f ? __builtin_rintf(x[i] / scale) : 0.0f;
      row.elements[i] = static_cast<std::int8_t>(steps > 127.0f ? 127.0f : steps >= -127.0f ? steps : -127.0f);
    }
  } else {
    for (std::uint32_t i = 0; i < head_dim; i++) store_from_float(row.elements + i, x[i]);
  }
}

template <typename T>
void copy_row(CacheRows<T> from, std::uint32_t head_dim, CacheRows<T> to) {
  std::memcpy(to.elements, from.elements, head_dim * sizeof(T));
  if constexpr (has_row_scales<T>) *to.scales = *from.scales;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
