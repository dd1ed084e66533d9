// <metal_matrix> as declarations: columns of vectors.
#pragma once

#include "metal_functions.h"

namespace metal {

template <typename T, int Columns, int Rows = Columns>
struct matrix {
  vec<T, Rows> columns[Columns];
  matrix() = default;
  explicit matrix(T diagonal);
  template <typename... Rest>
  matrix(vec<T, Rows>, Rest...);
  template <typename... Rest>
  matrix(T, T, Rest...);
  template <typename U>
  explicit matrix(matrix<U, Columns, Rows>);
  vec<T, Rows>& operator[](int);
  const vec<T, Rows>& operator[](int) const;
  matrix& operator+=(matrix);
  matrix& operator-=(matrix);
  matrix& operator*=(T);
};

template <typename T, int C, int R>
matrix<T, C, R> operator+(matrix<T, C, R>, matrix<T, C, R>);
template <typename T, int C, int R>
matrix<T, C, R> operator-(matrix<T, C, R>, matrix<T, C, R>);
template <typename T, int C, int R>
matrix<T, C, R> operator-(matrix<T, C, R>);
template <typename T, int C, int R>
matrix<T, C, R> operator*(matrix<T, C, R>, T);
template <typename T, int C, int R>
matrix<T, C, R> operator*(T, matrix<T, C, R>);
template <typename T, int C, int R>
vec<T, R> operator*(matrix<T, C, R>, vec<T, C>);
template <typename T, int C, int R>
vec<T, C> operator*(vec<T, R>, matrix<T, C, R>);
template <typename T, int C, int R, int N>
matrix<T, N, R> operator*(matrix<T, C, R>, matrix<T, N, C>);
template <typename T, int C, int R>
matrix<T, R, C> transpose(matrix<T, C, R>);
template <typename T, int N>
T determinant(matrix<T, N, N>);

#define MSL_SHIM_MATRIX_ROWS(scalar, columns)             \
  typedef matrix<scalar, columns, 2> scalar##columns##x2; \
  typedef matrix<scalar, columns, 3> scalar##columns##x3; \
  typedef matrix<scalar, columns, 4> scalar##columns##x4
#define MSL_SHIM_MATRICES(scalar)  \
  MSL_SHIM_MATRIX_ROWS(scalar, 2); \
  MSL_SHIM_MATRIX_ROWS(scalar, 3); \
  MSL_SHIM_MATRIX_ROWS(scalar, 4)
MSL_SHIM_MATRICES(float);
MSL_SHIM_MATRICES(half);

}  // namespace metal
