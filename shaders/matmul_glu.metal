// matmul_glu: y = act(x Wgate^T) * (x Wup^T), the two projections of a gated linear unit and their gate in one kernel.
//
//   x (rows, columns) float32, Wgate and Wup (outputs, columns) of one format, y (rows, outputs) float32
//
// Grid: (tiles of rows, tiles of outputs). A simdgroup computes ROWS x OUTPUTS results.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/matmul_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
kernel void matmul_glu(constant MatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                       device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                       device float* y [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_row = group.x * ROWS;
  uint first_output = (group.y * simdgroups + simdgroup) * OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  Weights gate_weights = {gate, args.gate_planes};
  Weights up_weights = {up, args.up_planes};
  float4 gate_sums[ROWS * OUTPUTS] = {};
  float4 up_sums[ROWS * OUTPUTS] = {};
  accumulate<Format, ROWS, OUTPUTS>(gate_weights, x, first_row, args.rows, first_output, args.outputs, args.columns,
                                    lane, gate_sums);
  accumulate<Format, ROWS, OUTPUTS>(up_weights, x, first_row, args.rows, first_output, args.outputs, args.columns, lane,
                                    up_sums);
  for (uint n = 0; n < OUTPUTS; n++) {
    for (uint m = 0; m < ROWS; m++) {
      float gate_value = simd_sum(horizontal_sum(gate_sums[n * ROWS + m]));
      float up_value = simd_sum(horizontal_sum(up_sums[n * ROWS + m]));
      if (lane == 0 && first_row + m < args.rows && first_output + n < args.outputs) {
        y[ulong(first_row + m) * args.outputs + first_output + n] = activate(args.activation, gate_value) * up_value;
      }
    }
  }
}

#define INSTANTIATE_TILE(host, Format, ROWS, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul_glu<Format, ROWS, OUTPUTS>) matmul_glu<Format, ROWS, OUTPUTS>;
#define INSTANTIATE(name, Format)                                                      \
  INSTANTIATE_TILE("matmul_glu_" #name "_r1", Format, VECTOR_ROWS, GLU_VECTOR_OUTPUTS) \
  INSTANTIATE_TILE("matmul_glu_" #name "_r8", Format, BATCH_ROWS, GLU_BATCH_OUTPUTS)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
