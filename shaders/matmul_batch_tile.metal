// matmul_batch_tile: y = act(x W^T + bias) for a few rows, in tiles of sixteen outputs, on devices with many cores.
//
//   x (eights of rows, chunks of 32 columns) as rounded_rows.h has them, W (outputs, columns) of a format with tiles,
//   bias (outputs,) and y (rows, outputs) float32; squares: see rounded_rows.h; columns a multiple of 32
//
// Grid: (groups of TILES tiles, eights of rows); the batch_parts simdgroups share the columns.
#include "include/batch_tile_sums.h"
#include "include/finish.h"
#include "include/matmul_args.h"

template <typename Format, uint TILES>
[[max_total_threads_per_threadgroup(BATCH_THREAD_LIMIT)]] kernel void matmul_batch_tile(
    constant MatmulBatchTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const uint4* x [[buffer(2)]], device float* y [[buffer(3)]],
    device const float* bias [[buffer(4), function_constant(has_bias)]],
    device const float* squares [[buffer(5), function_constant(has_squares)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  BATCH_TILE_MEMORY(TILES);
  BatchPlace place = {lane, simdgroup};
  uint first_output = group.x * TILES * TILE_OUTPUTS;
  BatchSource<TILES> source;
  for (uint i = 0; i < TILES; i++) {
    source.tiles.matrices[i] = {weight, args.planes};
    source.tiles.first_outputs[i] = first_output + i * TILE_OUTPUTS;
  }
  source.tiles.outputs = args.outputs;
  source.rounded = x + group.y * (batch_columns / ROUNDED_COLUMNS) * ROUNDED_VECTORS;
  source.lane = lane;
  threadgroup uint4* slots = memory + simdgroup * BatchMemory<TILES>::VECTORS;
  BatchAhead<Format, TILES> ahead;
  fetch_first_steps<Format, TILES>(source, simdgroup, slots, ahead);
  wait_for_inputs();
  BatchSums<TILES> sums;
  accumulate_batch<Format, TILES>(source, simdgroup, slots, ahead, sums);
  uint first_row = group.y * ROUNDED_ROWS;
  uint rows = min(ROUNDED_ROWS, args.rows - first_row);
  FinishedRows finished_rows;
  load_row_scales(squares, args.eps, first_row, rows, simdgroup, lane, finished_rows);
  gather_batch<TILES>(sums, place, memory);
  for (uint round = 0; round * batch_parts < ROUNDED_ROWS; round++) {
    uint row = simdgroup + round * batch_parts;
    if (row >= rows) {
      break;
    }
    float scale = finished_rows.scales[round];
    for (uint i = lane; i < TILES * TILE_OUTPUTS && first_output + i < args.outputs; i += 32) {
      y[ulong(first_row + row) * args.outputs + first_output + i] =
          finished(batch_result<TILES>(memory, i, row) * scale, bias, first_output + i);
    }
  }
}

#define INSTANTIATE_TILES(host, Format, TILES) \
  template [[host_name(host)]] kernel decltype(matmul_batch_tile<Format, TILES>) matmul_batch_tile<Format, TILES>;
#define INSTANTIATE(name, Format)                                \
  INSTANTIATE_TILES("matmul_batch_tile_" #name "_t2", Format, 2) \
  INSTANTIATE_TILES("matmul_batch_tile_" #name "_t4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
