// norm_matmul_glu_stream: norm_matmul_glu for plain floats of 16 bits.
//
//   x, branch, post_weight, weight (columns,) float32; Wgate and Wup (outputs, columns) of one streamed format;
//   y (outputs,) and stream, the sum, (columns,) float32. Columns: a multiple of 32, at most 7168.
//
// Grid: (tiles of OUTPUTS outputs).
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/row_norm.h"
#include "include/row_stream.h"

template <typename Format, uint OUTPUTS>
[[max_total_threads_per_threadgroup(STREAM_THREAD_LIMIT)]] kernel void norm_matmul_glu_stream(
    constant NormMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device const float* weight [[buffer(4)]],
    device const float* branch [[buffer(5), function_constant(has_branch)]],
    device const float* post_weight [[buffer(6), function_constant(has_post_norm)]], device float* y [[buffer(7)]],
    device float* stream [[buffer(8), function_constant(has_branch)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 staged[STREAM_COLUMNS / 4];
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * 2 * OUTPUTS];
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, OUTPUTS);
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormRow norm_weights;
  load_fours(inputs.weight, place, norm_weights);
  uint4 ahead[STREAM_UNITS];
  fetch_first_rounds<2, OUTPUTS>(matrices, args.outputs, place, ahead);
  keep_row(norm_weights, place, staged);
  NormRow post_weights;
  load_post_weights(inputs, place, post_weights);
  wait_for_inputs();
  keep_weighted(inputs, post_weights, group == 0, stream, place, norm_scratch, staged);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sums[2 * OUTPUTS];
  accumulate_rounds<Format, 2, OUTPUTS>(matrices, (threadgroup const float4*)staged, args.outputs, place, ahead, sums);
  float total = gather_rounds<2 * OUTPUTS>(sums, place, scratch) * scale_of_products(args.eps, place, norm_scratch);
  float up_value = simd_shuffle_down(total, OUTPUTS);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < OUTPUTS && output < args.outputs) {
    y[output] = activate(args.activation, total) * up_value;
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(                         \
      host)]] kernel decltype(norm_matmul_glu_stream<Format, OUTPUTS>) norm_matmul_glu_stream<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                                    \
  INSTANTIATE_TILE("norm_matmul_glu_stream_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("norm_matmul_glu_stream_" #name "_o2", Format, 2) \
  INSTANTIATE_TILE("norm_matmul_glu_stream_" #name "_o3", Format, 3)
FOR_EACH_STREAM_FORMAT(INSTANTIATE)
