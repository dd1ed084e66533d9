// matmul_glu_batch_tile: y = act(x Wgate^T) * (x Wup^T) for a few rows, as matmul_batch_tile; a pair is a tile of each.
//
//   x (rows, columns) float32, Wgate and Wup (outputs, columns) of one format with tiles, y (rows, outputs) float32
#include "include/activation.h"
#include "include/batch_tile_sums.h"
#include "include/matmul_args.h"

template <typename Format>
[[max_total_threads_per_threadgroup(MAX_BATCH_THREADS)]] kernel void matmul_glu_batch_tile(
    constant MatmulGluBatchTileArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
    device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]], device float* y [[buffer(4)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 memory[MAX_BATCH_SIMDGROUPS * BATCH_TILE_VECTORS];
  BatchPlace place = batch_place(group.x, lane, simdgroup);
  uint first_output = place.pair * TILE_OUTPUTS;
  TilePair pair = {{{gate, args.gate_planes}, {up, args.up_planes}}, {first_output, first_output}, args.outputs};
  uint first_row = group.y * BATCH_TILE_ROWS;
  uint rows = min(BATCH_TILE_ROWS, args.rows - first_row);
  BatchSums sums;
  accumulate_batch<Format>(pair, x + ulong(first_row) * batch_columns, rows, place,
                           memory + simdgroup * BATCH_TILE_VECTORS, sums);
  gather_batch(sums, place, memory);
  uint output = first_output + lane % TILE_OUTPUTS;
  if (place.part != 0 || output >= args.outputs) {
    return;
  }
  for (uint row = lane / TILE_OUTPUTS; row < rows; row += 2) {
    float gate_value = batch_result(memory, place, 0, lane % TILE_OUTPUTS, row);
    float up_value = batch_result(memory, place, 1, lane % TILE_OUTPUTS, row);
    y[ulong(first_row + row) * args.outputs + output] = activate(args.activation, gate_value) * up_value;
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name(           \
      "matmul_glu_batch_tile_" #name)]] kernel decltype(matmul_glu_batch_tile<Format>) matmul_glu_batch_tile<Format>;
FOR_EACH_TILE_FORMAT(INSTANTIATE)
