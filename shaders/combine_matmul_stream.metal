// combine_matmul_stream: combine_matmul for plain floats of 16 bits.
//
//   partial (heads, splits, head_dim), bests and totals (heads, splits) float32, see attention_split; W (outputs,
//   heads * head_dim) of a streamed format; y (outputs,) float32. At most 16 splits, 512 parts and 7168 columns.
//
// Grid: (tiles of OUTPUTS outputs). Every threadgroup combines the whole row.
#include "include/matmul_args.h"
#include "include/row_combine.h"
#include "include/row_stream.h"

template <typename Format, uint OUTPUTS>
[[max_total_threads_per_threadgroup(STREAM_THREAD_LIMIT)]] kernel void combine_matmul_stream(
    constant MatmulVectorTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* partial [[buffer(2)]], device const float* bests [[buffer(3)]],
    device const float* totals [[buffer(4)]], device float* y [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 staged[STREAM_COLUMNS / 4];
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * OUTPUTS];
  threadgroup float shares[MAX_PARTS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, OUTPUTS);
  Weights weights = {weight, args.planes};
  uint4 ahead[STREAM_UNITS];
  fetch_first_rounds<1, OUTPUTS>(&weights, args.outputs, place, ahead);
  wait_for_inputs();
  uint threads = tile_simdgroups * 32;
  Parts parts;
  load_parts(partial, simdgroup * 32 + lane, parts);
  find_shares(bests, totals, place, shares);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint index = simdgroup * 32 + lane; index * 4 < tile_columns; index += threads) {
    staged[index] = sum_parts(parts, index, shares);
    load_parts(partial, index + threads, parts);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sums[OUTPUTS];
  accumulate_rounds<Format, 1, OUTPUTS>(&weights, (threadgroup const float4*)staged, args.outputs, place, ahead, sums);
  float total = gather_rounds<OUTPUTS>(sums, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < OUTPUTS && output < args.outputs) {
    y[output] = total;
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(                         \
      host)]] kernel decltype(combine_matmul_stream<Format, OUTPUTS>) combine_matmul_stream<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                                   \
  INSTANTIATE_TILE("combine_matmul_stream_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("combine_matmul_stream_" #name "_o2", Format, 2) \
  INSTANTIATE_TILE("combine_matmul_stream_" #name "_o3", Format, 3)
FOR_EACH_STREAM_FORMAT(INSTANTIATE)
