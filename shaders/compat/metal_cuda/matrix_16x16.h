// shaders/include/matrix_16x16.h on NVIDIA: the fragments of mma.m16n8k16, loaded by ldmatrix.
//
// A fragment register holds two neighbouring elements of an 8x8 quarter: lane l those of row l / 4, columns l % 4 * 2
// and the next. Layouts as in the PTX manual, "Matrix fragments for mma.m16n8k16 with floating point type".
#pragma once

#include "../metal_cpu/scalar.h"

namespace metal {

// Quarters in the order (0, 0), (1, 0), (0, 1), (1, 1) of rows and columns.
template <typename T>
struct LeftMatrix {
  uint parts[4];
};

// The two quarters of columns 0 to 7, then those of columns 8 to 15; within a register the row changes first.
template <typename T>
struct RightMatrix {
  uint parts[4];
};

// A lane's elements: rows l / 4 and l / 4 + 8 of columns 0 to 7, then of columns 8 to 15.
struct SumMatrix {
  float elements[8];
};

namespace cuda {

template <typename T>
METAL_FUNC uint shared_address(const T* pointer) {
  return static_cast<uint>(::__cvta_generic_to_shared(pointer));
}

// Quarter i comes from the rows that lanes 8 i to 8 i + 7 point to.
METAL_FUNC void load_quarters(uint* parts, uint address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"(address)
               : "memory");
}
METAL_FUNC void load_quarters_transposed(uint* parts, uint address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
               : "r"(address)
               : "memory");
}

#define SOFTMETAL_MMA(T, name)                                                    \
  METAL_FUNC void multiply_16x8x16(T, float* sum, const uint* a, const uint* b) { \
    asm("mma.sync.aligned.m16n8k16.row.col.f32." name "." name                    \
        ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "                     \
        "{%0, %1, %2, %3};"                                                       \
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])                  \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));      \
  }
SOFTMETAL_MMA(half, "f16")
SOFTMETAL_MMA(bfloat, "bf16")
#undef SOFTMETAL_MMA

}  // namespace cuda

template <typename T>
METAL_FUNC void load_left(LeftMatrix<T>& left, const T* source, uint stride) {
  const uint lane = cuda::current_lane();
  cuda::load_quarters(left.parts, cuda::shared_address(source + lane % 16 * stride + lane / 16 * 8));
}

template <typename T>
METAL_FUNC void load_right(RightMatrix<T>& right, const T* source, uint stride) {
  const uint lane = cuda::current_lane();
  cuda::load_quarters_transposed(right.parts, cuda::shared_address(source + lane % 16 * stride + lane / 16 * 8));
}

template <typename T>
METAL_FUNC void load_right_transposed(RightMatrix<T>& right, const T* source, uint stride) {
  const uint lane = cuda::current_lane();
  const uint row = lane / 16 * 8 + lane % 8;
  cuda::load_quarters(right.parts, cuda::shared_address(source + row * stride + lane / 8 % 2 * 8));
}

METAL_FUNC void fill_zero(SumMatrix& sum) {
#pragma unroll
  for (uint i = 0; i < 8; i++) sum.elements[i] = 0.0f;
}

template <typename T>
METAL_FUNC void multiply_accumulate(SumMatrix& sum, const LeftMatrix<T>& left, const RightMatrix<T>& right) {
  cuda::multiply_16x8x16(T(), sum.elements, left.parts, right.parts);
  cuda::multiply_16x8x16(T(), sum.elements + 4, left.parts, right.parts + 2);
}

METAL_FUNC void store_sum(const SumMatrix& sum, float* target, uint stride) {
  const uint lane = cuda::current_lane();
#pragma unroll
  for (uint i = 0; i < 8; i++) {
    const uint row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    target[row * stride + column] = sum.elements[i];
  }
}

}  // namespace metal
