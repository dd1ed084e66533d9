// transpose_2d: y[b, j, i] = x[b, i, j], through tiles in threadgroup memory so that reads and writes are both in
// order.
//
//   x (batch, rows, columns), y (batch, columns, rows) float32
//
// Grid: (tiles of columns, tiles of rows, batch), 32 x 8 threads; a thread moves four elements of a tile.
#include <metal_stdlib>
using namespace metal;

constant constexpr uint TILE = 32;
constant constexpr uint THREAD_ROWS = 8;

struct TransposeArgs {
  uint rows;
  uint columns;
};

kernel void transpose_2d(constant TransposeArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                         device float* y [[buffer(2)]], uint3 group [[threadgroup_position_in_grid]],
                         uint3 thread_position [[thread_position_in_threadgroup]]) {
  // A row more than needed: columns of the tile then lie in different banks.
  threadgroup float tile[TILE][TILE + 1];
  ulong start = ulong(group.z) * args.rows * args.columns;
  uint column = group.x * TILE + thread_position.x;
  for (uint i = thread_position.y; i < TILE; i += THREAD_ROWS) {
    uint row = group.y * TILE + i;
    if (row < args.rows && column < args.columns) {
      tile[i][thread_position.x] = x[start + ulong(row) * args.columns + column];
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint row = group.y * TILE + thread_position.x;
  for (uint j = thread_position.y; j < TILE; j += THREAD_ROWS) {
    column = group.x * TILE + j;
    if (row < args.rows && column < args.columns) {
      y[start + ulong(column) * args.rows + row] = tile[thread_position.x][j];
    }
  }
}
