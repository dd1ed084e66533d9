// moe_matmul: y[pair] = x[row of the pair] W[expert of the pair]^T, each token with the experts chosen for it.
//
//   x (pairs / pairs_per_row, columns) float32, W (num_experts, outputs, columns), y (pairs, outputs) float32
//
// moe_matmul reads the expert of each pair, for few tokens; moe_matmul_grouped works on moe_group's tiles, so that a
// weight is read once for several tokens. Grid: (pairs or tiles, tiles of outputs).
#include "include/matmul_args.h"
#include "include/moe_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
inline void write_products(constant MoeMatmulArgs& args, device const uchar* weight, device const float* x,
                           thread const PairTile<ROWS>& tile, uint first_output, uint lane, device float* y) {
  Weights weights = {weight, args.planes};
  float4 sums[ROWS * OUTPUTS] = {};
  accumulate<Format, ROWS, OUTPUTS>(weights, ulong(tile.expert) * args.outputs, first_output, args.outputs, x,
                                    tile.x_rows, args.columns, lane, sums);
  for (uint n = 0; n < OUTPUTS; n++) {
    for (uint m = 0; m < ROWS; m++) {
      float total = simd_sum(horizontal_sum(sums[n * ROWS + m]));
      if (lane == 0 && m < tile.count && first_output + n < args.outputs) {
        y[ulong(tile.pairs[m]) * args.outputs + first_output + n] = total;
      }
    }
  }
}

template <typename Format>
kernel void moe_matmul(constant MoeMatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                       device const float* x [[buffer(2)]], device const int* experts [[buffer(3)]],
                       device float* y [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_output = (group.y * simdgroups + simdgroup) * VECTOR_OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  PairTile<1> tile = single_pair(group.x, experts, args.num_experts, args.pairs_per_row);
  write_products<Format, 1, VECTOR_OUTPUTS>(args, weight, x, tile, first_output, lane, y);
}

template <typename Format>
kernel void moe_matmul_grouped(constant MoeMatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                               device const float* x [[buffer(2)]], device const int* order [[buffer(3)]],
                               device const MoeTile* tiles [[buffer(4)]], device float* y [[buffer(5)]],
                               uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                               uint simdgroup [[simdgroup_index_in_threadgroup]],
                               uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_output = (group.y * simdgroups + simdgroup) * BATCH_OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  device const MoeTile& all = tiles[group.x];
  for (uint begin = uint(all.begin); begin < uint(all.end); begin += BATCH_ROWS) {
    PairTile<BATCH_ROWS> tile = grouped_pairs<BATCH_ROWS>(all, begin, order, args.pairs_per_row);
    write_products<Format, BATCH_ROWS, BATCH_OUTPUTS>(args, weight, x, tile, first_output, lane, y);
  }
}

#define INSTANTIATE(name, Format)                                                                     \
  template [[host_name("moe_matmul_" #name)]] kernel decltype(moe_matmul<Format>) moe_matmul<Format>; \
  template [[host_name(                                                                               \
      "moe_matmul_grouped_" #name)]] kernel decltype(moe_matmul_grouped<Format>) moe_matmul_grouped<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
