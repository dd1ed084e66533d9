// norm_matmul_glu: for one row, x += branch or its norm, then matmul_glu of x's norm, in tiles of sixteen outputs.
//
//   x, branch, post_weight, weight (columns,) float32; Wgate and Wup (outputs, columns) of one format with tiles;
//   y (outputs,) and stream, the sum, (columns,) float32. Columns: a multiple of 32, at most 7168.
//
// Grid: (tiles of outputs), as matmul_vector_tile's.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/row_tile_norm.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(MAX_TILE_THREADS)]] kernel void norm_matmul_glu(
    constant NormMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device const float* weight [[buffer(4)]],
    device const float* branch [[buffer(5), function_constant(has_branch)]],
    device const float* post_weight [[buffer(6), function_constant(has_post_norm)]], device float* y [[buffer(7)]],
    device float* stream [[buffer(8), function_constant(has_branch)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(2);
  threadgroup float norm_scratch[2 * MAX_SIMDGROUPS];
  TilePlace place = tile_place(group, lane, simdgroup);
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  TileStep<Format, 2> ahead[DEPTH];
  fetch_first_steps<Format, 2, DEPTH>(matrices, args.outputs, place, ahead);
  NormInputs inputs = {x, branch, post_weight, weight, args.eps};
  NormWeights weights;
  load_norm_weights(inputs, place, weights);
  wait_for_inputs();
  stage_norm<Format>(inputs, weights, group == 0, stream, place, staged, sums, norm_scratch);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 totals[2] = {float2(0.0f), float2(0.0f)};
  uint step = place.part;
  accumulate_steps<Format, 2, DEPTH>(matrices, args.outputs, place, 0, TILE_STEPS, step, ahead, staged, sums, totals);
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
  INSTANTIATE_DEPTH("norm_matmul_glu_" #name "_d3", Format, 3)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
