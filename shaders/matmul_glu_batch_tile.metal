// matmul_glu_batch_tile: y = act(x Wgate^T) * (x Wup^T) for a few rows, as matmul_batch_tile.
//
//   x as there, Wgate and Wup (outputs, columns) of one format with tiles; y (rows, outputs) float32, or `rounded`, the
//   same as rounded_rows.h has it, outputs then being a multiple of 32
//
// Grid: (32 outputs, which are two tiles of each matrix and one chunk of what is rounded, eights of rows).
#include "include/activation.h"
#include "include/batch_tile_sums.h"
#include "include/matmul_args.h"

constant bool rounds_output [[function_constant(2)]];
constant bool keeps_floats = !rounds_output;
constant constexpr uint GLU_TILES = 4;
constant constexpr uint GLU_THREAD_LIMIT = 384;  // as BATCH_THREAD_LIMIT: more registers for more tiles

template <typename Format>
[[max_total_threads_per_threadgroup(GLU_THREAD_LIMIT)]] kernel void matmul_glu_batch_tile(
    constant MatmulGluBatchTileArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const uint4* x [[buffer(3)]],
    device float* y [[buffer(4), function_constant(keeps_floats)]],
    device uint4* rounded [[buffer(5), function_constant(rounds_output)]],
    device const float* squares [[buffer(6), function_constant(has_squares)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  BATCH_TILE_MEMORY(GLU_TILES);
  BatchPlace place = {lane, simdgroup};
  uint first_output = group.x * 2 * TILE_OUTPUTS;
  Weights gates = {gate, args.gate_planes};
  Weights ups = {up, args.up_planes};
  uint second_output = first_output + TILE_OUTPUTS;
  BatchSource<GLU_TILES> source = {
      {{gates, gates, ups, ups}, {first_output, second_output, first_output, second_output}, args.outputs},
      x + group.y * (batch_columns / ROUNDED_COLUMNS) * ROUNDED_VECTORS,
      lane};
  threadgroup uint4* slots = memory + simdgroup * BatchMemory<GLU_TILES>::VECTORS;
  BatchAhead<Format, GLU_TILES> ahead;
  fetch_first_steps<Format, GLU_TILES>(source, simdgroup, slots, ahead);
  wait_for_inputs();
  BatchSums<GLU_TILES> sums;
  accumulate_batch<Format, GLU_TILES>(source, simdgroup, slots, ahead, sums);
  uint first_row = group.y * ROUNDED_ROWS;
  uint rows = min(ROUNDED_ROWS, args.rows - first_row);
  FinishedRows finished_rows;
  load_row_scales(squares, args.eps, first_row, rows, simdgroup, lane, finished_rows);
  gather_batch<GLU_TILES>(sums, place, memory);
  for (uint round = 0; round * batch_parts < ROUNDED_ROWS; round++) {
    uint row = simdgroup + round * batch_parts;
    if (row >= rows) {
      break;
    }
    float scale = finished_rows.scales[round];
    float gate_value = batch_result<GLU_TILES>(memory, lane, row) * scale;
    float up_value = batch_result<GLU_TILES>(memory, 2 * TILE_OUTPUTS + lane, row) * scale;
    float value = activate(args.activation, gate_value) * up_value;
    if (rounds_output) {
      store_rounded(rounded, args.outputs / ROUNDED_COLUMNS, first_row + row, group.x, lane, value);
    } else if (first_output + lane < args.outputs) {
      y[ulong(first_row + row) * args.outputs + first_output + lane] = value;
    }
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name(           \
      "matmul_glu_batch_tile_" #name)]] kernel decltype(matmul_glu_batch_tile<Format>) matmul_glu_batch_tile<Format>;
FOR_EACH_TILE_FORMAT(INSTANTIATE)
