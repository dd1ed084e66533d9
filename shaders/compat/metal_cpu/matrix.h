// <metal_matrix>: matrices of C columns with R rows, and their products.
#pragma once

#include "geometric.h"

namespace metal {

template <typename T, int C, int R>
struct matrix {
  vec<T, R> columns[C];

  matrix() = default;
  METAL_FUNC explicit constexpr matrix(T diagonal) : columns{} {
    for (int i = 0; i < C && i < R; i++) columns[i][static_cast<std::size_t>(i)] = diagonal;
  }
  template <typename... V, std::enable_if_t<sizeof...(V) == C && (std::is_same_v<V, vec<T, R>> && ...), int> = 0>
  METAL_FUNC constexpr matrix(const V&... values) : columns{values...} {}
  template <typename U, std::enable_if_t<!std::is_same_v<U, T>, int> = 0>
  METAL_FUNC explicit constexpr matrix(const matrix<U, C, R>& other) {
    for (int i = 0; i < C; i++) columns[i] = vec<T, R>(other.columns[i]);
  }

  METAL_FUNC vec<T, R>& operator[](std::size_t column) { return columns[column]; }
  METAL_FUNC const vec<T, R>& operator[](std::size_t column) const { return columns[column]; }
};

template <typename T, int C, int R>
METAL_FUNC matrix<T, C, R> operator+(const matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  matrix<T, C, R> sum;
  for (int i = 0; i < C; i++) sum.columns[i] = a.columns[i] + b.columns[i];
  return sum;
}
template <typename T, int C, int R>
METAL_FUNC matrix<T, C, R> operator-(const matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  matrix<T, C, R> difference;
  for (int i = 0; i < C; i++) difference.columns[i] = a.columns[i] - b.columns[i];
  return difference;
}
template <typename T, int C, int R>
METAL_FUNC matrix<T, C, R>& operator+=(matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  return a = a + b;
}
template <typename T, int C, int R>
METAL_FUNC matrix<T, C, R>& operator-=(matrix<T, C, R>& a, const matrix<T, C, R>& b) {
  return a = a - b;
}
template <typename T, int C, int R, typename S, std::enable_if_t<cpu::is_scalar<S>, int> = 0>
METAL_FUNC matrix<T, C, R>& operator*=(matrix<T, C, R>& a, S scale) {
  for (int i = 0; i < C; i++) a.columns[i] = a.columns[i] * scale;
  return a;
}
template <typename T, int C, int R, typename S, std::enable_if_t<cpu::is_scalar<S>, int> = 0>
METAL_FUNC matrix<T, C, R> operator*(const matrix<T, C, R>& a, S scale) {
  matrix<T, C, R> scaled;
  for (int i = 0; i < C; i++) scaled.columns[i] = a.columns[i] * scale;
  return scaled;
}
template <typename T, int C, int R, typename S, std::enable_if_t<cpu::is_scalar<S>, int> = 0>
METAL_FUNC matrix<T, C, R> operator*(S scale, const matrix<T, C, R>& a) {
  return a * scale;
}
template <typename T, int C, int R>
METAL_FUNC vec<T, R> operator*(const matrix<T, C, R>& a, const vec<T, C>& v) {
  vec<T, R> sum = a.columns[0] * v[0];
  for (int i = 1; i < C; i++) sum += a.columns[i] * v[static_cast<std::size_t>(i)];
  return sum;
}
template <typename T, int C, int R>
METAL_FUNC vec<T, C> operator*(const vec<T, R>& v, const matrix<T, C, R>& a) {
  vec<T, C> result;
  for (int i = 0; i < C; i++) result[static_cast<std::size_t>(i)] = dot(v, a.columns[i]);
  return result;
}
template <typename T, int K, int R, int C>
METAL_FUNC matrix<T, C, R> operator*(const matrix<T, K, R>& a, const matrix<T, C, K>& b) {
  matrix<T, C, R> product;
  for (int i = 0; i < C; i++) product.columns[i] = a * b.columns[i];
  return product;
}
template <typename T, int C, int R>
METAL_FUNC matrix<T, R, C> transpose(const matrix<T, C, R>& a) {
  matrix<T, R, C> result;
  for (std::size_t i = 0; i < C; i++) {
    for (std::size_t j = 0; j < R; j++) result.columns[j][i] = a.columns[i][j];
  }
  return result;
}

}  // namespace metal

#define SOFTMETAL_MATRICES(T, C)           \
  typedef metal::matrix<T, C, 2> T##C##x2; \
  typedef metal::matrix<T, C, 3> T##C##x3; \
  typedef metal::matrix<T, C, 4> T##C##x4; \
  namespace metal {                        \
  using ::T##C##x2;                        \
  using ::T##C##x3;                        \
  using ::T##C##x4;                        \
  }
SOFTMETAL_MATRICES(float, 2)
SOFTMETAL_MATRICES(float, 3)
SOFTMETAL_MATRICES(float, 4)
SOFTMETAL_MATRICES(half, 2)
SOFTMETAL_MATRICES(half, 3)
SOFTMETAL_MATRICES(half, 4)
#undef SOFTMETAL_MATRICES
