// matmul_add_batch_tile: stream = residual + x W^T for a few rows, and its product with the next norm's weight,
// rounded.
//
//   x, W as matmul_batch_tile's, outputs a multiple of 32; residual, stream (rows, outputs) float32, which may be the
//   same; norm_weight (outputs,) float32; rounded and squares of the stream: see rounded_rows.h
//
// Grid: (32 outputs, which are two tiles and one chunk of what is rounded, eights of rows).
#include "include/batch_tile_sums.h"
#include "include/matmul_args.h"

constant constexpr uint ADD_TILES = 2;

template <typename Format>
[[max_total_threads_per_threadgroup(BATCH_THREAD_LIMIT)]] kernel void matmul_add_batch_tile(
    constant MatmulAddBatchTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const uint4* x [[buffer(2)]], device const float* residual [[buffer(3)]],
    device const float* norm_weight [[buffer(4)]], device float* stream [[buffer(5)]],
    device uint4* rounded [[buffer(6)]], device float* squares [[buffer(7)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  BATCH_TILE_MEMORY(ADD_TILES);
  BatchPlace place = {lane, simdgroup};
  uint first_output = group.x * ROUNDED_COLUMNS;
  Weights weights = {weight, args.planes};
  BatchSource<ADD_TILES> source = {{{weights, weights}, {first_output, first_output + TILE_OUTPUTS}, args.outputs},
                                   x + group.y * (batch_columns / ROUNDED_COLUMNS) * ROUNDED_VECTORS,
                                   lane};
  uint output = first_output + lane;
  float factor = norm_weight[output];
  threadgroup uint4* slots = memory + simdgroup * BatchMemory<ADD_TILES>::VECTORS;
  BatchAhead<Format, ADD_TILES> ahead;
  fetch_first_steps<Format, ADD_TILES>(source, simdgroup, slots, ahead);
  wait_for_inputs();
  BatchSums<ADD_TILES> sums;
  accumulate_batch<Format, ADD_TILES>(source, simdgroup, slots, ahead, sums);
  gather_batch<ADD_TILES>(sums, place, memory);
  uint first_row = group.y * ROUNDED_ROWS;
  uint rows = min(ROUNDED_ROWS, args.rows - first_row);
  uint chunks = args.outputs / ROUNDED_COLUMNS;
  for (uint i = simdgroup; i < rows; i += batch_parts) {
    uint row = first_row + i;
    float total = residual[ulong(row) * args.outputs + output] + batch_result<ADD_TILES>(memory, lane, i);
    stream[ulong(row) * args.outputs + output] = total;
    store_rounded(rounded, chunks, row, group.x, lane, total * factor);
    float square = simd_sum(total * total);
    if (lane == 0) {
      squares[row * chunks + group.x] = square;
    }
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name(           \
      "matmul_add_batch_tile_" #name)]] kernel decltype(matmul_add_batch_tile<Format>) matmul_add_batch_tile<Format>;
FOR_EACH_TILE_FORMAT(INSTANTIATE)
