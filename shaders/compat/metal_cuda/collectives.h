// What the lanes of a simdgroup do together, under the names of csrc/softmetal/cpu/simdgroup.h, so that
// metal_cpu/simdgroup.h and metal_cpu/simdgroup_matrix.h serve the GPU as well.
#pragma once

#include "shuffle.h"

namespace softmetal {
namespace cpu {

using metal::cuda::current_lane;
using metal::cuda::shuffle;

METAL_FUNC void wait_at_threadgroup_barrier() { ::__syncthreads(); }
METAL_FUNC uint ballot(bool value) { return ::__ballot_sync(metal::cuda::all_lanes, value); }

// Operation: `static Out run(In)`.
template <typename Operation>
METAL_FUNC typename Operation::Out meet(const typename Operation::In& value) {
  return Operation::run(value);
}

template <typename T, typename Fold>
struct Reduction {
  using In = T;
  using Out = T;
  METAL_FUNC static T run(const T& value) { return metal::cuda::reduce<Fold, 32>(value); }
};

template <typename T, typename Fold>
struct QuadReduction {
  using In = T;
  using Out = T;
  METAL_FUNC static T run(const T& value) { return metal::cuda::reduce<Fold, 4>(value); }
};

template <typename T, typename Fold, bool inclusive, uint width>
struct Scan {
  using In = T;
  using Out = T;
  METAL_FUNC static T run(const T& value) { return metal::cuda::scan<Fold, inclusive, width>(value); }
};

template <typename T>
struct BroadcastFirst {
  using In = T;
  using Out = T;
  METAL_FUNC static T run(const T& value) {
    const uint live = metal::cuda::live_lanes();
    return metal::cuda::value_of_lane(value, static_cast<uint>(::__ffs(static_cast<int>(live))) - 1);
  }
};

struct SimdgroupBarrier {
  using In = unsigned char;
  using Out = unsigned char;
  METAL_FUNC static unsigned char run(unsigned char value) {
    ::__syncwarp(metal::cuda::all_lanes);
    return value;
  }
};

struct MatrixOperands {
  float a[2], b[2], c[2];
};

struct MatrixElements {
  float value[2];
};

// Where a lane's two elements of an 8x8 matrix lie, as on Apple's GPUs, and which lane holds an element.
METAL_FUNC constexpr uint matrix_row(uint lane) { return ((lane / 4) & 4) + (lane / 2) % 4; }
METAL_FUNC constexpr uint matrix_column(uint lane) { return ((lane / 4) & 2) * 2 + (lane % 2) * 2; }
METAL_FUNC constexpr uint matrix_lane(uint row, uint column) {
  return (row & 4) * 4 + (column & 4) * 2 + (row & 3) * 2 + (column & 2) / 2;
}

// d = a * b + c in float32, in the order of the columns of a.
struct MatrixMultiply {
  using In = MatrixOperands;
  using Out = MatrixElements;
  METAL_FUNC static MatrixElements run(const MatrixOperands& in) {
    const uint row = matrix_row(current_lane());
    const uint column = matrix_column(current_lane());
    MatrixElements sum = {{in.c[0], in.c[1]}};
#pragma unroll
    for (uint k = 0; k < 8; k++) {
      const float a = ::__shfl_sync(metal::cuda::all_lanes, in.a[k % 2], matrix_lane(row, k));
      const uint source = matrix_lane(k, column);
      sum.value[0] += a * ::__shfl_sync(metal::cuda::all_lanes, in.b[0], source);
      sum.value[1] += a * ::__shfl_sync(metal::cuda::all_lanes, in.b[1], source);
    }
    return sum;
  }
};

}  // namespace cpu
}  // namespace softmetal
