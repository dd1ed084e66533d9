// <metal_integer>: bit and fixed-point functions of integers and integer vectors.
#pragma once

#include "math.h"

namespace metal {

namespace cpu {

template <typename V>
using enable_if_integer = std::enable_if_t<std::is_integral_v<element<V>>, int>;

template <typename T>
using wide = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;

template <typename T>
METAL_FUNC constexpr int count_bits(T value) {
  return __builtin_popcountll(static_cast<std::make_unsigned_t<T>>(value));
}

template <typename T>
METAL_FUNC constexpr int leading_zeros(T value) {
  constexpr int width = sizeof(T) * 8;
  return value == 0 ? width : __builtin_clzll(static_cast<std::make_unsigned_t<T>>(value)) - (64 - width);
}

template <typename T>
METAL_FUNC constexpr int trailing_zeros(T value) {
  return value == 0 ? static_cast<int>(sizeof(T) * 8) : __builtin_ctzll(static_cast<std::make_unsigned_t<T>>(value));
}

template <typename T>
constexpr T reverse(T value) {
  using U = std::make_unsigned_t<T>;
  U source = static_cast<U>(value), result = 0;
  for (std::size_t i = 0; i < sizeof(T) * 8; i++) {
    result = static_cast<U>(result << 1 | (source & 1));
    source = static_cast<U>(source >> 1);
  }
  return static_cast<T>(result);
}

template <typename T>
METAL_FUNC constexpr T rotate_left(T value, T count) {
  using U = std::make_unsigned_t<T>;
  constexpr U width = sizeof(T) * 8;
  const U shift = static_cast<U>(count) % width;
  const U bits = static_cast<U>(value);
  return shift == 0 ? value : static_cast<T>(static_cast<U>(bits << shift) | static_cast<U>(bits >> (width - shift)));
}

template <typename T>
METAL_FUNC constexpr T high_half(T a, T b) {
  return static_cast<T>((static_cast<wide<T>>(a) * static_cast<wide<T>>(b)) >> (sizeof(T) * 8));
}

template <typename T>
METAL_FUNC constexpr T saturated(wide<T> value) {
  constexpr wide<T> low = std::is_signed_v<T> ? -(static_cast<wide<T>>(1) << (sizeof(T) * 8 - 1)) : 0;
  constexpr wide<T> high = (static_cast<wide<T>>(1) << (sizeof(T) * 8 - std::is_signed_v<T>)) - 1;
  return static_cast<T>(value < low ? low : value > high ? high : value);
}

// Subtraction of unsigned numbers wraps round in `wide`, hence its own saturation.
template <typename T>
METAL_FUNC constexpr T subtract_saturated(T a, T b) {
  if constexpr (std::is_unsigned_v<T>) {
    return a < b ? T(0) : static_cast<T>(a - b);
  } else {
    return saturated<T>(static_cast<wide<T>>(a) - static_cast<wide<T>>(b));
  }
}

template <typename T>
METAL_FUNC constexpr T extract(T value, uint offset, uint bits) {
  using U = std::make_unsigned_t<T>;
  constexpr uint width = sizeof(T) * 8;
  if (bits == 0) return 0;
  const U raised = static_cast<U>(static_cast<U>(value) << (width - bits - offset));
  return static_cast<T>(static_cast<T>(raised) >> (width - bits));
}

template <typename T>
METAL_FUNC constexpr T insert(T base, T inserted, uint offset, uint bits) {
  using U = std::make_unsigned_t<T>;
  if (bits == 0) return base;
  const U mask = static_cast<U>(static_cast<U>(static_cast<U>(~U(0)) >> (sizeof(T) * 8 - bits)) << offset);
  return static_cast<T>((static_cast<U>(base) & static_cast<U>(~mask)) |
                        (static_cast<U>(static_cast<U>(inserted) << offset) & mask));
}

}  // namespace cpu

#define SOFTMETAL_INTEGER_1(name, expression)          \
  template <typename V, cpu::enable_if_integer<V> = 0> \
  METAL_FUNC constexpr V name(const V& value) {        \
    using T = cpu::element<V>;                         \
    return cpu::each<T>(                               \
        [](auto c) {                                   \
          [[maybe_unused]] T x = c;                    \
          return expression;                           \
        },                                             \
        value);                                        \
  }
SOFTMETAL_INTEGER_1(popcount, cpu::count_bits(x))
SOFTMETAL_INTEGER_1(clz, cpu::leading_zeros(x))
SOFTMETAL_INTEGER_1(ctz, cpu::trailing_zeros(x))
SOFTMETAL_INTEGER_1(reverse_bits, cpu::reverse(x))
#undef SOFTMETAL_INTEGER_1

#define SOFTMETAL_INTEGER_2(name, expression)                                                     \
  template <typename A, typename B, cpu::enable_if_integer<A> = 0, cpu::enable_if_integer<B> = 0> \
  METAL_FUNC constexpr cpu::met<A, B> name(const A& a, const B& b) {                              \
    using V = cpu::met<A, B>;                                                                     \
    using T = cpu::element<V>;                                                                    \
    return cpu::each<T>(                                                                          \
        [](auto l, auto r) {                                                                      \
          T x = l, y = r;                                                                         \
          using W = cpu::wide<T>;                                                                 \
          [[maybe_unused]] W wide_x = x, wide_y = y;                                              \
          return expression;                                                                      \
        },                                                                                        \
        V(a), V(b));                                                                              \
  }
SOFTMETAL_INTEGER_2(absdiff, (std::make_unsigned_t<T>(wide_x > wide_y ? wide_x - wide_y : wide_y - wide_x)))
SOFTMETAL_INTEGER_2(addsat, cpu::saturated<T>(wide_x + wide_y))
SOFTMETAL_INTEGER_2(subsat, cpu::subtract_saturated<T>(x, y))
SOFTMETAL_INTEGER_2(hadd, ((wide_x + wide_y) >> 1))
SOFTMETAL_INTEGER_2(rhadd, ((wide_x + wide_y + 1) >> 1))
SOFTMETAL_INTEGER_2(mulhi, cpu::high_half<T>(x, y))
SOFTMETAL_INTEGER_2(mul24, x* y)
SOFTMETAL_INTEGER_2(rotate, cpu::rotate_left<T>(x, y))
#undef SOFTMETAL_INTEGER_2

template <typename V, cpu::enable_if_integer<V> = 0>
METAL_FUNC constexpr V mad24(const V& a, const V& b, const V& c) {
  return a * b + c;
}
template <typename V, cpu::enable_if_integer<V> = 0>
METAL_FUNC constexpr V madhi(const V& a, const V& b, const V& c) {
  return mulhi(a, b) + c;
}
template <typename V, cpu::enable_if_integer<V> = 0>
METAL_FUNC constexpr V extract_bits(const V& value, uint offset, uint bits) {
  using T = cpu::element<V>;
  return cpu::each<T>([=](auto x) { return cpu::extract<T>(x, offset, bits); }, value);
}
template <typename V, cpu::enable_if_integer<V> = 0>
METAL_FUNC constexpr V insert_bits(const V& base, const V& inserted, uint offset, uint bits) {
  using T = cpu::element<V>;
  return cpu::each<T>([=](auto x, auto y) { return cpu::insert<T>(x, y, offset, bits); }, base, inserted);
}

// <metal_pack>: the forms for packed integers.
METAL_FUNC float4 unpack_unorm4x8_to_float(uint bits) {
  return float4(float(bits & 255), float(bits >> 8 & 255), float(bits >> 16 & 255), float(bits >> 24)) / 255.0f;
}

}  // namespace metal
