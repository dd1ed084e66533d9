// matmul_vector_tile: matmul_vector in tiles of sixteen outputs a simdgroup, for formats in chunks of 16 bytes.
//
//   x (columns,) float32, W (outputs, columns) of a format with tiles, bias and y (outputs,) float32; columns a
//   multiple of 32
//
// Grid: (tiles of outputs); tile_parts simdgroups share the columns of a tile.
#include "include/finish.h"
#include "include/matmul_args.h"
#include "include/row_tile_sums.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void matmul_vector_tile(
    constant MatmulVectorTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
    device const float* bias [[buffer(4), function_constant(has_bias)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  TilePlace place = place_in_tiles(group, lane, simdgroup, TILE_OUTPUTS);
  Weights weights = {weight, args.planes};
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, args.outputs, place, ahead);
  wait_for_inputs();
  float2 totals[1] = {float2(0.0f)};
  accumulate_tile<Format, 1, DEPTH>(&weights, x, args.outputs, place, ahead, staged, facts, totals);
  float total = gather_tile<1>(totals, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[output] = finished(total, bias, output);
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(matmul_vector_tile<Format, DEPTH>) matmul_vector_tile<Format, DEPTH>;
#define INSTANTIATE(name, Format)                                 \
  INSTANTIATE_DEPTH("matmul_vector_tile_" #name "_d2", Format, 2) \
  INSTANTIATE_DEPTH("matmul_vector_tile_" #name "_d4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
