// matmul_glu_vector_tile: matmul_glu_vector in tiles of sixteen outputs a simdgroup.
//
//   x (columns,) float32, Wgate and Wup (outputs, columns) of one format with tiles, y (outputs,) float32
//
// Grid: (tiles of outputs), as matmul_vector_tile's.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/row_tile_sums.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void matmul_glu_vector_tile(
    constant MatmulGluVectorTileArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device float* y [[buffer(4)]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(2);
  TilePlace place = place_in_tiles(group, lane, simdgroup, TILE_OUTPUTS);
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  TileStep<Format, 2> ahead[DEPTH];
  fetch_first_steps<Format, 2, DEPTH>(matrices, args.outputs, place, ahead);
  wait_for_inputs();
  float2 totals[2] = {float2(0.0f), float2(0.0f)};
  accumulate_tile<Format, 2, DEPTH>(matrices, x, args.outputs, place, ahead, staged, facts, totals);
  float total = gather_tile<2>(totals, place, scratch);
  float up_value = simd_shuffle_down(total, TILE_OUTPUTS);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[output] = activate(args.activation, total) * up_value;
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(                        \
      host)]] kernel decltype(matmul_glu_vector_tile<Format, DEPTH>) matmul_glu_vector_tile<Format, DEPTH>;
#define INSTANTIATE(name, Format)                                     \
  INSTANTIATE_DEPTH("matmul_glu_vector_tile_" #name "_d1", Format, 1) \
  INSTANTIATE_DEPTH("matmul_glu_vector_tile_" #name "_d2", Format, 2)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
