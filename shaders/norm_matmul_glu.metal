// norm_matmul_glu: for one row, x += branch or its norm, then matmul_glu of x's norm, in tiles of sixteen outputs.
//
//   x, branch, post_weight, weight (columns,) float32; Wgate and Wup (outputs, columns) of one format with tiles;
//   y (outputs,) and stream, the sum, (columns,) float32. Columns: a multiple of 32, at most 7168.
//
// Grid: (tiles of outputs), as matmul_vector_tile's.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/row_tile_sums.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void norm_matmul_glu(
    constant NormMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device const float* weight [[buffer(4)]],
    device const float* branch [[buffer(5), function_constant(has_branch)]],
    device const float* post_weight [[buffer(6), function_constant(has_post_norm)]], device float* y [[buffer(7)]],
    device float* stream [[buffer(8), function_constant(has_branch)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(2);
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, TILE_OUTPUTS);
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  TileStep<Format, 2> ahead[DEPTH];
  fetch_first_steps<Format, 2, DEPTH>(matrices, args.outputs, place, ahead);
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormRow post_weights;
  load_post_weights(inputs, place, post_weights);
  wait_for_inputs();
  NormRow row;
  load_normed(inputs, post_weights, group == 0, stream, place, norm_scratch, row);
  stage_row<Format>(row, place, staged, facts);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 totals[2] = {float2(0.0f), float2(0.0f)};
  accumulate_steps<Format, 2, DEPTH>(matrices, args.outputs, place, 0, TILE_STEPS, ahead, staged, facts, totals);
  float total = gather_tile<2>(totals, place, scratch);
  float up_value = simd_shuffle_down(total, TILE_OUTPUTS);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[output] = activate(args.activation, total) * up_value;
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(norm_matmul_glu<Format, DEPTH>) norm_matmul_glu<Format, DEPTH>;
#define INSTANTIATE(name, Format)                              \
  INSTANTIATE_DEPTH("norm_matmul_glu_" #name "_d1", Format, 1) \
  INSTANTIATE_DEPTH("norm_matmul_glu_" #name "_d2", Format, 2)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
