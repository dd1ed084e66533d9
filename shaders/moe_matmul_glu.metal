// moe_matmul_glu: y[pair] = act(x Wgate[expert]^T) * (x Wup[expert]^T), an expert's gated linear unit in one kernel.
//
//   x (pairs / pairs_per_row, columns) float32, Wgate and Wup (num_experts, outputs, columns) of one format,
//   y (pairs, outputs) float32
//
// Forms and grids are those of moe_matmul.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/moe_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
inline void write_gated(constant MoeMatmulGluArgs& args, device const uchar* gate, device const uchar* up,
                        device const float* x, thread const PairTile<ROWS>& tile, uint first_output, uint lane,
                        device float* y) {
  Weights gate_weights = {gate, args.gate_planes};
  Weights up_weights = {up, args.up_planes};
  float4 gate_sums[ROWS * OUTPUTS] = {};
  float4 up_sums[ROWS * OUTPUTS] = {};
  ulong first_row = ulong(tile.expert) * args.outputs;
  accumulate<Format, ROWS, OUTPUTS>(gate_weights, first_row, first_output, args.outputs, x, tile.x_rows, args.columns,
                                    lane, gate_sums);
  accumulate<Format, ROWS, OUTPUTS>(up_weights, first_row, first_output, args.outputs, x, tile.x_rows, args.columns,
                                    lane, up_sums);
  for (uint n = 0; n < OUTPUTS; n++) {
    for (uint m = 0; m < ROWS; m++) {
      float gate_value = simd_sum(horizontal_sum(gate_sums[n * ROWS + m]));
      float up_value = simd_sum(horizontal_sum(up_sums[n * ROWS + m]));
      if (lane == 0 && m < tile.count && first_output + n < args.outputs) {
        float value = activate(args.activation, gate_value) * up_value;
        y[ulong(tile.pairs[m]) * args.outputs + first_output + n] = value;
      }
    }
  }
}

template <typename Format>
kernel void moe_matmul_glu(constant MoeMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                           device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                           device const int* experts [[buffer(4)]], device float* y [[buffer(5)]],
                           uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]],
                           uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_output = (group.y * simdgroups + simdgroup) * GLU_VECTOR_OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  PairTile<1> tile = single_pair(group.x, experts, args.num_experts, args.pairs_per_row);
  write_gated<Format, 1, GLU_VECTOR_OUTPUTS>(args, gate, up, x, tile, first_output, lane, y);
}

template <typename Format>
kernel void moe_matmul_glu_grouped(constant MoeMatmulGluArgs& args [[buffer(0)]],
                                   device const uchar* gate [[buffer(1)]], device const uchar* up [[buffer(2)]],
                                   device const float* x [[buffer(3)]], device const int* order [[buffer(4)]],
                                   device const MoeTile* tiles [[buffer(5)]], device float* y [[buffer(6)]],
                                   uint2 group [[threadgroup_position_in_grid]],
                                   uint lane [[thread_index_in_simdgroup]],
                                   uint simdgroup [[simdgroup_index_in_threadgroup]],
                                   uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_output = (group.y * simdgroups + simdgroup) * GLU_BATCH_OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  device const MoeTile& all = tiles[group.x];
  for (uint begin = uint(all.begin); begin < uint(all.end); begin += BATCH_ROWS) {
    PairTile<BATCH_ROWS> tile = grouped_pairs<BATCH_ROWS>(all, begin, order, args.pairs_per_row);
    write_gated<Format, BATCH_ROWS, GLU_BATCH_OUTPUTS>(args, gate, up, x, tile, first_output, lane, y);
  }
}

#define INSTANTIATE(name, Format)                                                                                 \
  template [[host_name("moe_matmul_glu_" #name)]] kernel decltype(moe_matmul_glu<Format>) moe_matmul_glu<Format>; \
  template [[host_name("moe_matmul_glu_grouped_" #name)]] kernel decltype(moe_matmul_glu_grouped<Format>)         \
      moe_matmul_glu_grouped<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
