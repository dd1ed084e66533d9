// norm_matmul_group_stream: norm_matmul_group for plain floats of 16 bits.
//
//   x, branch, post_weight, weight (columns,) float32; first, second and third (outputs[i], columns) of one streamed
//   format; y_first, y_second, y_third (outputs[i],) and stream, the sum, (columns,) float32. Columns: a multiple of
//   32, at most 7168.
//
// Grid: (tiles of the first's outputs, then of the second's, then of the third's).
#include "include/finish.h"
#include "include/group_member.h"
#include "include/row_norm.h"
#include "include/row_stream.h"

template <typename Format, uint OUTPUTS>
[[max_total_threads_per_threadgroup(STREAM_THREAD_LIMIT)]] kernel void norm_matmul_group_stream(
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
  threadgroup float4 staged[STREAM_COLUMNS / 4];
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * OUTPUTS];
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, OUTPUTS);
  GroupMember member = find_member(args, place.first_output, OUTPUTS);
  place.first_output = member.first_output;
  device const uchar* matrix = member.which == 0 ? first : (member.which == 1 ? second : third);
  device float* y = member.which == 0 ? y_first : (member.which == 1 ? y_second : y_third);
  Weights weights = {matrix, args.planes + member.which * 6};
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormRow norm_weights;
  load_fours(inputs.weight, place, norm_weights);
  uint4 ahead[STREAM_UNITS];
  fetch_first_rounds<1, OUTPUTS>(&weights, member.outputs, place, ahead);
  keep_row(norm_weights, place, staged);
  NormRow post_weights;
  load_post_weights(inputs, place, post_weights);
  wait_for_inputs();
  keep_weighted(inputs, post_weights, group == 0, stream, place, norm_scratch, staged);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sums[OUTPUTS];
  accumulate_rounds<Format, 1, OUTPUTS>(&weights, (threadgroup const float4*)staged, member.outputs, place, ahead,
                                        sums);
  float total = gather_rounds<OUTPUTS>(sums, place, scratch) * scale_of_products(args.eps, place, norm_scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < OUTPUTS && output < member.outputs) {
    device const float* bias = member.which == 0 ? bias_first : (member.which == 1 ? bias_second : bias_third);
    y[output] = finished(total, bias, output);
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(                         \
      host)]] kernel decltype(norm_matmul_group_stream<Format, OUTPUTS>) norm_matmul_group_stream<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                                      \
  INSTANTIATE_TILE("norm_matmul_group_stream_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("norm_matmul_group_stream_" #name "_o2", Format, 2) \
  INSTANTIATE_TILE("norm_matmul_group_stream_" #name "_o3", Format, 3)
FOR_EACH_STREAM_FORMAT(INSTANTIATE)
