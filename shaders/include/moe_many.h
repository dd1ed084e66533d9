// What the expert kernels for many pairs give multiply_many: rows of x by their pairs, rows of weights by their expert.
//
// A threadgroup works on a tile of at most MOE_SIDE pairs that share an expert.
#pragma once

#include "matmul_many.h"
#include "moe_args.h"

constant constexpr uint MOE_SIDE = 64;

// The rows of x that a tile's pairs read; those beyond the last repeat it.
struct PairRows {
  device const float* x;
  threadgroup const uint* pairs;
  uint first;
  uint rows;
  uint columns;
  uint pairs_per_row;
  bool is_bfloat;
  ulong index(uint number) const thread { return pairs[number] / pairs_per_row; }
};

// Called by all threads: the tile's pairs, the last one repeated. Returns how many there are.
inline uint load_pairs(device const MoeTile& tile, device const int* order, uint thread_index,
                       threadgroup uint* pairs) {
  uint count = uint(tile.end - tile.begin);
  if (count > 0 && thread_index < MOE_SIDE) {
    pairs[thread_index] = uint(order[uint(tile.begin) + min(thread_index, count - 1)]);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return count;
}
