// <metal_geometric>: functions of floating-point vectors.
#pragma once

#include "math.h"

namespace metal {

template <typename T, int N>
METAL_FUNC constexpr T dot(const vec<T, N>& a, const vec<T, N>& b) {
  T sum = a.x * b.x + a.y * b.y;
  if constexpr (N > 2) sum = sum + a.z * b.z;
  if constexpr (N > 3) sum = sum + a.w * b.w;
  return sum;
}
// A number stands for a vector of it.
template <typename T, int N, typename S, std::enable_if_t<cpu::is_scalar<S>, int> = 0>
METAL_FUNC constexpr T dot(const vec<T, N>& a, S b) {
  return dot(a, vec<T, N>(T(b)));
}
template <typename T, int N, typename S, std::enable_if_t<cpu::is_scalar<S>, int> = 0>
METAL_FUNC constexpr T dot(S a, const vec<T, N>& b) {
  return dot(vec<T, N>(T(a)), b);
}
template <typename T, int N>
METAL_FUNC constexpr vec<T, N> cross(const vec<T, N>& a, const vec<T, N>& b) {
  static_assert(N == 3, "cross needs vectors of three components");
  return vec<T, N>(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
template <typename T, int N>
METAL_FUNC constexpr T length_squared(const vec<T, N>& v) {
  return dot(v, v);
}
template <typename T, int N>
METAL_FUNC T length(const vec<T, N>& v) {
  return sqrt(dot(v, v));
}
template <typename T, int N>
METAL_FUNC constexpr T distance_squared(const vec<T, N>& a, const vec<T, N>& b) {
  return length_squared(a - b);
}
template <typename T, int N>
METAL_FUNC T distance(const vec<T, N>& a, const vec<T, N>& b) {
  return length(a - b);
}
template <typename T, int N>
METAL_FUNC vec<T, N> normalize(const vec<T, N>& v) {
  return v * rsqrt(dot(v, v));
}
template <typename T, int N>
METAL_FUNC constexpr vec<T, N> reflect(const vec<T, N>& incident, const vec<T, N>& normal) {
  return incident - normal * (T(2) * dot(normal, incident));
}

}  // namespace metal
