// The inner product shared by the matmul kernels: a simdgroup's tile of ROWS x OUTPUTS results.
//
// Lanes split the columns by blocks of 32; a weight block is dequantised once for all rows of the tile.
#pragma once

#include "quant.h"

// Dot product of 32 dequantised weights with 32 (at the edge fewer) inputs, kept as four running sums.
inline float4 dot_block(thread const float4* weights, device const float* x, uint count) {
  float4 sum = float4(0.0f);
  if (count == WEIGHTS_PER_BLOCK) {
    device const packed_float4* x4 = (device const packed_float4*)x;
    for (uint i = 0; i < 8; i++) {
      sum += weights[i] * float4(x4[i]);
    }
    return sum;
  }
  for (uint j = 0; j < count; j++) {
    sum.x += weights[j / 4][j % 4] * x[j];
  }
  return sum;
}

inline float horizontal_sum(float4 v) { return (v.x + v.y) + (v.z + v.w); }

// Weight rows first_weight_row + min(first_output + n, outputs - 1) times the rows of x numbered x_rows[m].
template <typename Format, uint ROWS, uint OUTPUTS>
inline void accumulate(thread const Weights& weights, ulong first_weight_row, uint first_output, uint outputs,
                       device const float* x, thread const uint* x_rows, uint columns, uint lane, thread float4* sums) {
  uint blocks = (columns + WEIGHTS_PER_BLOCK - 1) / WEIGHTS_PER_BLOCK;
  for (uint block = lane; block < blocks; block += 32) {
    uint count = min(WEIGHTS_PER_BLOCK, columns - block * WEIGHTS_PER_BLOCK);
    for (uint n = 0; n < OUTPUTS; n++) {
      float4 values[8];
      Format::load(weights, first_weight_row + min(first_output + n, outputs - 1), columns, block, values);
      for (uint m = 0; m < ROWS; m++) {
        sums[n * ROWS + m] += dot_block(values, x + ulong(x_rows[m]) * columns + block * WEIGHTS_PER_BLOCK, count);
      }
    }
  }
}

// A tile of consecutive rows of x; rows beyond the last repeat it.
template <typename Format, uint ROWS, uint OUTPUTS>
inline void accumulate(thread const Weights& weights, device const float* x, uint first_row, uint rows,
                       uint first_output, uint outputs, uint columns, uint lane, thread float4* sums) {
  uint x_rows[ROWS];
  for (uint m = 0; m < ROWS; m++) {
    x_rows[m] = min(first_row + m, rows - 1);
  }
  accumulate<Format, ROWS, OUTPUTS>(weights, 0, first_output, outputs, x, x_rows, columns, lane, sums);
}
