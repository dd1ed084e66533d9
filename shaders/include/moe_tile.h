// The pairs of token and expert that a simdgroup of the expert kernels works on.
#pragma once

#include "matmul_tile.h"
#include "moe_args.h"

// ROWS pairs of one expert; the places beyond `count` repeat the first pair.
template <uint ROWS>
struct PairTile {
  uint expert;
  uint count;
  uint pairs[ROWS];
  uint x_rows[ROWS];
};

inline PairTile<1> single_pair(uint pair, device const int* experts, uint num_experts, uint pairs_per_row) {
  PairTile<1> tile;
  tile.expert = min(uint(experts[pair]), num_experts - 1);
  tile.count = 1;
  tile.pairs[0] = pair;
  tile.x_rows[0] = pair / pairs_per_row;
  return tile;
}

// Those of a tile's pairs that begin with order[begin].
template <uint ROWS>
inline PairTile<ROWS> grouped_pairs(device const MoeTile& of, uint begin, device const int* order, uint pairs_per_row) {
  PairTile<ROWS> tile;
  tile.expert = uint(of.expert);
  tile.count = min(uint(of.end) - begin, ROWS);
  for (uint m = 0; m < ROWS; m++) {
    tile.pairs[m] = uint(order[begin + (m < tile.count ? m : 0)]);
    tile.x_rows[m] = tile.pairs[m] / pairs_per_row;
  }
  return tile;
}
