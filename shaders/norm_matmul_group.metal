// norm_matmul_group: for one row, x += branch or its norm, then three products of x's norm (queries, keys, values).
//
//   x, branch, post_weight, weight (columns,) float32; first, second and third (outputs[i], columns) of one format with
//   tiles; y_first, y_second, y_third and biases (outputs[i],) and stream, the sum, (columns,) float32. Columns: a
//   multiple of 32, at most 7168.
//
// Grid: (tiles of the first's outputs, then of the second's, then of the third's).
#include "include/finish.h"
#include "include/group_member.h"
#include "include/matmul_args.h"
#include "include/row_tile_sums.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void norm_matmul_group(
    constant NormMatmulGroupArgs& args [[buffer(0)]], device const uchar* first [[buffer(1)]],
    device const uchar* second [[buffer(2)]], device const uchar* third [[buffer(3)]],
    device const float* x [[buffer(4)]], device const float* weight [[buffer(5)]],
    device const float* branch [[buffer(6), function_constant(has_branch)]],
    device const float* post_weight [[buffer(7), function_constant(has_post_norm)]],
    device float* y_first [[buffer(8)]], device float* y_second [[buffer(9)]], device float* y_third [[buffer(10)]],
    device float* stream [[buffer(11), function_constant(has_branch)]],
    device const float* bias_first [[buffer(12), function_constant(has_bias)]],
    device const float* bias_second [[buffer(13), function_constant(has_bias)]],
    device const float* bias_third [[buffer(14), function_constant(has_bias)]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, TILE_OUTPUTS);
  GroupMember member = find_member(args, place.first_output, TILE_OUTPUTS);
  place.first_output = member.first_output;
  device const uchar* matrix = member.which == 0 ? first : (member.which == 1 ? second : third);
  device float* y = member.which == 0 ? y_first : (member.which == 1 ? y_second : y_third);
  uint outputs = member.outputs;
  Weights weights = {matrix, args.planes + member.which * 6};
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, outputs, place, ahead);
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormRow post_weights;
  load_post_weights(inputs, place, post_weights);
  wait_for_inputs();
  NormRow row;
  load_normed(inputs, post_weights, group == 0, stream, place, norm_scratch, row);
  stage_row<Format>(row, place, staged, facts);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 totals[1] = {float2(0.0f)};
  accumulate_steps<Format, 1, DEPTH>(&weights, outputs, place, 0, TILE_STEPS, ahead, staged, facts, totals);
  float total = gather_tile<1>(totals, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < outputs) {
    device const float* bias = member.which == 0 ? bias_first : (member.which == 1 ? bias_second : bias_third);
    y[output] = finished(total, bias, output);
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(norm_matmul_group<Format, DEPTH>) norm_matmul_group<Format, DEPTH>;
#define INSTANTIATE(name, Format)                                \
  INSTANTIATE_DEPTH("norm_matmul_group_" #name "_d2", Format, 2) \
  INSTANTIATE_DEPTH("norm_matmul_group_" #name "_d4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
