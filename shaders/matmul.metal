// matmul: y = x W^T with weights of any format, dequantised on the fly.
//
//   x (rows, columns) float32, W (outputs, columns), y (rows, outputs) float32
//
// Grid: (tiles of rows, tiles of outputs). A simdgroup computes ROWS x OUTPUTS results.
#include "include/matmul_args.h"
#include "include/matmul_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
kernel void matmul(constant MatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                   device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
                   uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                   uint simdgroup [[simdgroup_index_in_threadgroup]], uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_row = group.x * ROWS;
  uint first_output = (group.y * simdgroups + simdgroup) * OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  Weights weights = {weight, args.planes};
  float4 sums[ROWS * OUTPUTS] = {};
  accumulate<Format, ROWS, OUTPUTS>(weights, x, first_row, args.rows, first_output, args.outputs, args.columns, lane,
                                    sums);
  for (uint n = 0; n < OUTPUTS; n++) {
    for (uint m = 0; m < ROWS; m++) {
      float total = simd_sum(horizontal_sum(sums[n * ROWS + m]));
      if (lane == 0 && first_row + m < args.rows && first_output + n < args.outputs) {
        y[ulong(first_row + m) * args.outputs + first_output + n] = total;
      }
    }
  }
}

#define INSTANTIATE_TILE(host, Format, ROWS, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul<Format, ROWS, OUTPUTS>) matmul<Format, ROWS, OUTPUTS>;
#define INSTANTIATE(name, Format)                                              \
  INSTANTIATE_TILE("matmul_" #name "_r1", Format, VECTOR_ROWS, VECTOR_OUTPUTS) \
  INSTANTIATE_TILE("matmul_" #name "_r8", Format, BATCH_ROWS, BATCH_OUTPUTS)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
