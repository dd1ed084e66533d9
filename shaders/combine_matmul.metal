// combine_matmul: attention_combine of one row, then its product with the output projection, in tiles of 16 outputs.
//
//   partial (heads, splits, head_dim), bests and totals (heads, splits) float32, see attention_split; W (outputs,
//   heads * head_dim) of a format with tiles; y (outputs,) float32. At most 16 splits, 512 parts and 7168 columns.
//
// Grid: (tiles of outputs), as matmul_vector_tile's. Every threadgroup combines the whole row.
#include "include/matmul_args.h"
#include "include/row_combine.h"
#include "include/row_tile_sums.h"

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(TILE_THREAD_LIMIT)]] kernel void combine_matmul(
    constant MatmulVectorTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* partial [[buffer(2)]], device const float* bests [[buffer(3)]],
    device const float* totals [[buffer(4)]], device float* y [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  threadgroup float shares[MAX_PARTS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, TILE_OUTPUTS);
  Weights weights = {weight, args.planes};
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, args.outputs, place, ahead);
  wait_for_inputs();
  uint threads = tile_simdgroups * 32;
  uint whole = TILE_STEPS * STEP_COLUMNS / 4;
  Parts parts;
  load_parts(partial, simdgroup * 32 + lane, parts);
  find_shares(bests, totals, place, shares);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint index = simdgroup * 32 + lane; index < whole; index += threads) {
    stage_inputs<TileFormat<Format>::HAS_SHIFT>(staged, facts, index, sum_parts(parts, index, shares));
    load_parts(partial, index + threads, parts);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 products[1] = {float2(0.0f)};
  accumulate_steps<Format, 1, DEPTH>(&weights, args.outputs, place, 0, TILE_STEPS, ahead, staged, facts, products);
  float total = gather_tile<1>(products, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[output] = total;
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(combine_matmul<Format, DEPTH>) combine_matmul<Format, DEPTH>;
#define INSTANTIATE(name, Format)                             \
  INSTANTIATE_DEPTH("combine_matmul_" #name "_d2", Format, 2) \
  INSTANTIATE_DEPTH("combine_matmul_" #name "_d4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
