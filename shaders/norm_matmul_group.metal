// norm_matmul_group: for one row, x += branch or its norm, then three products of x's norm (queries, keys, values).
//
//   x, branch, post_weight, weight (columns,) float32; first, second and third (outputs[i], columns) of one format with
//   tiles; y_first, y_second, y_third (outputs[i],) and stream, the sum, (columns,) float32. Columns: a multiple of 32,
//   at most 7168.
//
// Grid: (tiles of the first's outputs, then of the second's, then of the third's).
#include "include/matmul_args.h"
#include "include/row_tile_norm.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(MAX_TILE_THREADS)]] kernel void norm_matmul_group(
    constant NormMatmulGroupArgs& args [[buffer(0)]], device const uchar* first [[buffer(1)]],
    device const uchar* second [[buffer(2)]], device const uchar* third [[buffer(3)]],
    device const float* x [[buffer(4)]], device const float* weight [[buffer(5)]],
    device const float* branch [[buffer(6), function_constant(has_branch)]],
    device const float* post_weight [[buffer(7), function_constant(has_post_norm)]],
    device float* y_first [[buffer(8)]], device float* y_second [[buffer(9)]], device float* y_third [[buffer(10)]],
    device float* stream [[buffer(11), function_constant(has_branch)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = tile_place(group, lane, simdgroup);
  // Each product begins with a tile of its own.
  uint second_tile = (args.outputs[0] + TILE_OUTPUTS - 1) / TILE_OUTPUTS * TILE_OUTPUTS;
  uint third_tile = second_tile + (args.outputs[1] + TILE_OUTPUTS - 1) / TILE_OUTPUTS * TILE_OUTPUTS;
  uint which = uint(place.first_output >= second_tile) + uint(place.first_output >= third_tile);
  place.first_output -= which == 0 ? 0 : (which == 1 ? second_tile : third_tile);
  device const uchar* matrix = which == 0 ? first : (which == 1 ? second : third);
  device float* y = which == 0 ? y_first : (which == 1 ? y_second : y_third);
  uint outputs = args.outputs[which];
  Weights weights = {matrix, args.planes + which * 6};
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, outputs, place, ahead);
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormWeights norm_weights;
  load_norm_weights(inputs, place, norm_weights);
  wait_for_inputs();
  stage_norm<Format>(inputs, norm_weights, group == 0, stream, place, staged, sums, norm_scratch);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 totals[1] = {float2(0.0f)};
  uint step = place.part;
  accumulate_steps<Format, 1, DEPTH>(&weights, outputs, place, 0, TILE_STEPS, step, ahead, staged, sums, totals);
  float total = gather_tile<1>(totals, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < outputs) {
    y[output] = total;
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(norm_matmul_group<Format, DEPTH>) norm_matmul_group<Format, DEPTH>;
#define INSTANTIATE(name, Format)                                \
  INSTANTIATE_DEPTH("norm_matmul_group_" #name "_d1", Format, 1) \
  INSTANTIATE_DEPTH("norm_matmul_group_" #name "_d4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
