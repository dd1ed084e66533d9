// matmul_batch_tile: y = act(x W^T + bias) for a few rows, in pairs of tiles of sixteen outputs, on devices with many
// cores.
//
//   x (rows, columns) float32, W (outputs, columns) of a format with tiles, bias (outputs,) and y (rows, outputs)
//   float32; columns a multiple of 32
//
// Grid: (groups of pairs of tiles, eights of rows); batch_parts simdgroups share the columns of a pair.
#include "include/batch_tile_sums.h"
#include "include/finish.h"
#include "include/matmul_args.h"

template <typename Format>
[[max_total_threads_per_threadgroup(MAX_BATCH_THREADS)]] kernel void matmul_batch_tile(
    constant MatmulBatchTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
    device const float* bias [[buffer(4), function_constant(has_bias)]], uint2 group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 memory[MAX_BATCH_SIMDGROUPS * BATCH_TILE_VECTORS];
  BatchPlace place = batch_place(group.x, lane, simdgroup);
  uint first_output = place.pair * BATCH_TILES * TILE_OUTPUTS;
  Weights weights = {weight, args.planes};
  TilePair pair = {{weights, weights}, {first_output, first_output + TILE_OUTPUTS}, args.outputs};
  uint first_row = group.y * BATCH_TILE_ROWS;
  uint rows = min(BATCH_TILE_ROWS, args.rows - first_row);
  BatchSums sums;
  accumulate_batch<Format>(pair, x + ulong(first_row) * batch_columns, rows, place,
                           memory + simdgroup * BATCH_TILE_VECTORS, sums);
  gather_batch(sums, place, memory);
  if (place.part != 0) {
    return;
  }
  uint output = first_output + lane;
  for (uint row = 0; row < rows; row++) {
    float total = batch_result(memory, place, lane / TILE_OUTPUTS, lane % TILE_OUTPUTS, row);
    if (output < args.outputs) {
      y[ulong(first_row + row) * args.outputs + output] = finished(total, bias, output);
    }
  }
}

#define INSTANTIATE(name, Format) \
  template                        \
      [[host_name("matmul_batch_tile_" #name)]] kernel decltype(matmul_batch_tile<Format>) matmul_batch_tile<Format>;
FOR_EACH_TILE_FORMAT(INSTANTIATE)
