// matmul: y = act(x W^T + bias) with weights of any format, dequantised on the fly; see finish.h.
//
//   x (rows, columns) float32, for many rows float32 or bfloat, see reads_bfloat; W (outputs, columns), bias (outputs,)
//   and y (rows, outputs) float32
//
// Grid: (tiles of rows, tiles of outputs). A simdgroup computes ROWS x OUTPUTS results; in the form for many rows the
// threadgroup dequantises a tile of weights for all of its simdgroups.
#include "include/many_products.h"
#include "include/matmul_args.h"
#include "include/matmul_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
kernel void matmul(constant MatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                   device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
                   device const float* bias [[buffer(4), function_constant(has_bias)]],
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
        y[ulong(first_row + m) * args.outputs + first_output + n] = finished(total, bias, first_output + n);
      }
    }
  }
}

// The form for many rows: a threadgroup of 2 * SIDE threads computes SIDE x SIDE results from bfloat operands.
template <typename Format, uint SIDE>
kernel void matmul_many(constant MatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                        device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
                        device const float* bias [[buffer(4), function_constant(has_bias)]],
                        uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                        uint thread_index [[thread_index_in_threadgroup]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[SIDE * MANY_VECTORS];
  InputRows inputs = {x, group.x * SIDE, args.rows, args.columns, reads_bfloat};
  MatmulRows rows = {{weight, args.planes}, group.y * SIDE, args.outputs};
  write_tile<Format, SIDE>(rows, inputs, bias, y, lane, thread_index, simdgroup, memory);
}

#define INSTANTIATE_TILE(host, Format, ROWS, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul<Format, ROWS, OUTPUTS>) matmul<Format, ROWS, OUTPUTS>;
#define INSTANTIATE(name, Format)                                              \
  INSTANTIATE_TILE("matmul_" #name "_r1", Format, VECTOR_ROWS, VECTOR_OUTPUTS) \
  INSTANTIATE_TILE("matmul_" #name "_r8", Format, BATCH_ROWS, BATCH_OUTPUTS)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)

#define INSTANTIATE_SIDE(host, Format, SIDE) \
  template [[host_name(host)]] kernel decltype(matmul_many<Format, SIDE>) matmul_many<Format, SIDE>;
#define INSTANTIATE_MANY(name, Format)                 \
  INSTANTIATE_SIDE("matmul_" #name "_r64", Format, 64) \
  INSTANTIATE_SIDE("matmul_" #name "_r128", Format, 128)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE_MANY)
