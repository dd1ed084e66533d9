// <metal_simdgroup_matrix>: 8x8 matrices that the lanes of a simdgroup hold together, two elements each.
//
// Lane l holds elements (row, column) and (row, column + 1) with q = l / 4, row = (q & 4) + (l / 2) % 4 and
// column = (q & 2) * 2 + (l % 2) * 2, as Apple's GPUs do. Products are summed in float32.
#pragma once

#include "simdgroup.h"

namespace metal {

template <typename T, int Cols = 8, int Rows = Cols>
struct simdgroup_matrix {
  static_assert(Cols == 8 && Rows == 8, "simdgroup_matrix is 8x8");
  using storage_type = vec<T, 2>;

  simdgroup_matrix() = default;
  METAL_FUNC explicit simdgroup_matrix(T diagonal) {
    const uint lane = softmetal::cpu::current_lane();
    const uint row = softmetal::cpu::matrix_row(lane), column = softmetal::cpu::matrix_column(lane);
    elements_.x = row == column ? diagonal : T(0);
    elements_.y = row == column + 1 ? diagonal : T(0);
  }

  METAL_FUNC storage_type& thread_elements() { return elements_; }
  METAL_FUNC const storage_type& thread_elements() const { return elements_; }

 private:
  storage_type elements_;
};

using simdgroup_float8x8 = simdgroup_matrix<float, 8, 8>;
using simdgroup_half8x8 = simdgroup_matrix<half, 8, 8>;
using simdgroup_bfloat8x8 = simdgroup_matrix<bfloat, 8, 8>;

template <typename T, int Cols, int Rows = Cols>
METAL_FUNC simdgroup_matrix<T, Cols, Rows> make_filled_simdgroup_matrix(T value) {
  simdgroup_matrix<T, Cols, Rows> result;
  result.thread_elements() = value;
  return result;
}

namespace cpu {

// Index from the first element in memory of this lane's element number i.
METAL_FUNC ulong matrix_index(ulong elements_per_row, ulong2 origin, bool transpose, uint i) {
  const uint lane = softmetal::cpu::current_lane();
  const ulong row = softmetal::cpu::matrix_row(lane), column = softmetal::cpu::matrix_column(lane) + i;
  const ulong base = origin.y * elements_per_row + origin.x;
  return base + (transpose ? column * elements_per_row + row : row * elements_per_row + column);
}

template <typename T>
METAL_FUNC float float_of(T value) {
  return static_cast<float>(value);
}

}  // namespace cpu

template <typename T, typename U, int Cols, int Rows>
METAL_FUNC void simdgroup_load(simdgroup_matrix<T, Cols, Rows>& matrix, const U* source, ulong elements_per_row = 8,
                               ulong2 origin = 0, bool transpose = false) {
  matrix.thread_elements().x = T(source[cpu::matrix_index(elements_per_row, origin, transpose, 0)]);
  matrix.thread_elements().y = T(source[cpu::matrix_index(elements_per_row, origin, transpose, 1)]);
}

template <typename T, typename U, int Cols, int Rows>
METAL_FUNC void simdgroup_store(const simdgroup_matrix<T, Cols, Rows>& matrix, U* target, ulong elements_per_row = 8,
                                ulong2 origin = 0, bool transpose = false) {
  target[cpu::matrix_index(elements_per_row, origin, transpose, 0)] = U(matrix.thread_elements().x);
  target[cpu::matrix_index(elements_per_row, origin, transpose, 1)] = U(matrix.thread_elements().y);
}

template <typename D, typename A, typename B, typename C>
METAL_FUNC void simdgroup_multiply_accumulate(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                              const simdgroup_matrix<B, 8, 8>& b, const simdgroup_matrix<C, 8, 8>& c) {
  const auto& left = a.thread_elements();
  const auto& right = b.thread_elements();
  const auto& addend = c.thread_elements();
  const auto result =
      softmetal::cpu::meet<softmetal::cpu::MatrixMultiply>({{cpu::float_of(left.x), cpu::float_of(left.y)},
                                                            {cpu::float_of(right.x), cpu::float_of(right.y)},
                                                            {cpu::float_of(addend.x), cpu::float_of(addend.y)}});
  d.thread_elements().x = D(result.value[0]);
  d.thread_elements().y = D(result.value[1]);
}

template <typename D, typename A, typename B>
METAL_FUNC void simdgroup_multiply(simdgroup_matrix<D, 8, 8>& d, const simdgroup_matrix<A, 8, 8>& a,
                                   const simdgroup_matrix<B, 8, 8>& b) {
  simdgroup_multiply_accumulate(d, a, b, make_filled_simdgroup_matrix<float, 8, 8>(0.0f));
}

template <typename A, typename B>
METAL_FUNC simdgroup_matrix<A, 8, 8> operator*(const simdgroup_matrix<A, 8, 8>& a, const simdgroup_matrix<B, 8, 8>& b) {
  simdgroup_matrix<A, 8, 8> product;
  simdgroup_multiply(product, a, b);
  return product;
}

}  // namespace metal
