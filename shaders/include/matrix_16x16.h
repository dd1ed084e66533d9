// Products of 16x16 matrices that a simdgroup holds together: left and right operands half or bfloat, sums float.
//
// On Metal and on the CPU each is four 8x8 matrices. NVIDIA's instruction is 16x8x16, so there they are what
// compat/metal_cuda/matrix_16x16.h says, under the same names. Operands come from threadgroup memory, aligned to 16
// bytes, with rows `stride` elements apart, a multiple of 8; strides of 8 more than a multiple of 32 avoid conflicts.
#pragma once

#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

#ifndef __SOFTMETAL_CUDA__

// parts[i] is the quarter in row i / 2, column i % 2.
template <typename T>
struct LeftMatrix {
  simdgroup_matrix<T, 8, 8> parts[4];
};

template <typename T>
struct RightMatrix {
  simdgroup_matrix<T, 8, 8> parts[4];
};

struct SumMatrix {
  simdgroup_float8x8 parts[4];
};

template <typename T>
inline void load_left(thread LeftMatrix<T>& left, threadgroup const T* source, uint stride) {
  for (uint i = 0; i < 4; i++) {
    simdgroup_load(left.parts[i], source + i / 2 * 8 * stride + i % 2 * 8, stride);
  }
}

template <typename T>
inline void load_right(thread RightMatrix<T>& right, threadgroup const T* source, uint stride) {
  for (uint i = 0; i < 4; i++) {
    simdgroup_load(right.parts[i], source + i / 2 * 8 * stride + i % 2 * 8, stride);
  }
}

// The source's rows are the operand's columns.
template <typename T>
inline void load_right_transposed(thread RightMatrix<T>& right, threadgroup const T* source, uint stride) {
  for (uint i = 0; i < 4; i++) {
    simdgroup_load(right.parts[i], source + i % 2 * 8 * stride + i / 2 * 8, stride, ulong2(0), true);
  }
}

inline void fill_zero(thread SumMatrix& sum) {
  for (uint i = 0; i < 4; i++) {
    sum.parts[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
}

template <typename T>
inline void multiply_accumulate(thread SumMatrix& sum, thread const LeftMatrix<T>& left,
                                thread const RightMatrix<T>& right) {
  for (uint i = 0; i < 4; i++) {
    for (uint k = 0; k < 2; k++) {
      simdgroup_multiply_accumulate(sum.parts[i], left.parts[i / 2 * 2 + k], right.parts[k * 2 + i % 2], sum.parts[i]);
    }
  }
}

inline void store_sum(thread const SumMatrix& sum, threadgroup float* target, uint stride) {
  for (uint i = 0; i < 4; i++) {
    simdgroup_store(sum.parts[i], target + i / 2 * 8 * stride + i % 2 * 8, stride);
  }
}

#endif
