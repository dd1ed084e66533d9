// moe_matmul_tile, moe_matmul_glu_tile: moe_matmul and moe_matmul_glu for few pairs, in tiles of sixteen outputs.
//
//   x (pairs / pairs_per_row, columns) float32, W, Wgate and Wup (num_experts, outputs, columns) of one format with
//   tiles, experts (pairs,) int32, y (pairs, outputs) float32; columns a multiple of 32
//
// Grid: (tiles of outputs, pairs); tile_parts simdgroups share the columns of a tile. Which weights are read is known
// only when the experts are chosen, so nothing is fetched before.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/moe_args.h"
#include "include/row_tile_sums.h"

// The rows of an expert among those of all, as bounds of what a simdgroup reads.
struct ExpertRows {
  uint begin;
  uint end;
};

inline ExpertRows expert_rows(device const int* experts, uint pair, uint num_experts, uint outputs) {
  uint expert = min(uint(experts[pair]), num_experts - 1);
  return {expert * outputs, (expert + 1) * outputs};
}

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void moe_matmul_tile(
    constant MoeMatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* x [[buffer(2)]], device const int* experts [[buffer(3)]], device float* y [[buffer(4)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  TilePlace place = place_in_tiles(group.x, lane, simdgroup, TILE_OUTPUTS);
  uint output = place.first_output + lane;
  Weights weights = {weight, args.planes};
  wait_for_inputs();
  ExpertRows rows = expert_rows(experts, group.y, args.num_experts, args.outputs);
  place.first_output += rows.begin;
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, rows.end, place, ahead);
  float2 totals[1] = {float2(0.0f)};
  device const float* row = x + ulong(group.y / args.pairs_per_row) * tile_columns;
  accumulate_tile<Format, 1, DEPTH>(&weights, row, rows.end, place, ahead, staged, facts, totals);
  float total = gather_tile<1>(totals, place, scratch);
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[ulong(group.y) * args.outputs + output] = total;
  }
}

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void moe_matmul_glu_tile(
    constant MoeMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device const int* experts [[buffer(4)]],
    device float* y [[buffer(5)]], uint2 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(2);
  TilePlace place = place_in_tiles(group.x, lane, simdgroup, TILE_OUTPUTS);
  uint output = place.first_output + lane;
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  wait_for_inputs();
  ExpertRows rows = expert_rows(experts, group.y, args.num_experts, args.outputs);
  place.first_output += rows.begin;
  TileStep<Format, 2> ahead[DEPTH];
  fetch_first_steps<Format, 2, DEPTH>(matrices, rows.end, place, ahead);
  float2 totals[2] = {float2(0.0f), float2(0.0f)};
  device const float* row = x + ulong(group.y / args.pairs_per_row) * tile_columns;
  accumulate_tile<Format, 2, DEPTH>(matrices, row, rows.end, place, ahead, staged, facts, totals);
  float total = gather_tile<2>(totals, place, scratch);
  float up_value = simd_shuffle_down(total, TILE_OUTPUTS);
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[ulong(group.y) * args.outputs + output] = activate(args.activation, total) * up_value;
  }
}

#define INSTANTIATE_DEPTH(host, Kernel, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(Kernel<Format, DEPTH>) Kernel<Format, DEPTH>;
#define INSTANTIATE(name, Format)                                                       \
  INSTANTIATE_DEPTH("moe_matmul_tile_" #name "_d2", moe_matmul_tile, Format, 2)         \
  INSTANTIATE_DEPTH("moe_matmul_tile_" #name "_d4", moe_matmul_tile, Format, 4)         \
  INSTANTIATE_DEPTH("moe_matmul_glu_tile_" #name "_d1", moe_matmul_glu_tile, Format, 1) \
  INSTANTIATE_DEPTH("moe_matmul_glu_tile_" #name "_d2", moe_matmul_glu_tile, Format, 2)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
