// Two tiles of sixteen outputs for up to eight rows of inputs, which a simdgroup computes together from packed weights.
//
// Weights lie as in row_tile.h: lane l has chunk l % 4 of a step of four, of rows l / 4 and l / 4 + 8 of each tile.
// Here a lane keeps its parts of all rows, and four neighbouring lanes are added at the end. On NVIDIA a step is
// products of matrices: compat/metal_cuda/batch_tile.h.
#pragma once

#include "row_tile_format.h"

constant constexpr uint BATCH_TILES = 2;
constant constexpr uint BATCH_TILE_ROWS = 8;
// Vectors of 16 bytes that a simdgroup needs: for a tile's weights on their way, later for its results.
constant constexpr uint BATCH_TILE_VECTORS = 80;

// A lane's weights of one step: rows l / 4 and l / 4 + 8 of the first tile, then of the second.
template <typename Format>
struct BatchStep {
  uint4 bits[BATCH_TILES * 2];
  TileFormat<Format> format[BATCH_TILES * 2];
};

#ifndef __SOFTMETAL_CUDA__

struct BatchSums {
  float2 rows[BATCH_TILES][BATCH_TILE_ROWS];
};

inline void clear(thread BatchSums& sums) {
  for (uint i = 0; i < BATCH_TILES * BATCH_TILE_ROWS; i++) {
    sums.rows[i / BATCH_TILE_ROWS][i % BATCH_TILE_ROWS] = float2(0.0f);
  }
}

inline float row_dot(uint4 bits, thread const float4* inputs) {
  float4 sums = float4(0.0f);
  for (uint i = 0; i < 4; i++) {
    uint word = bits[i];
    sums += nibbles_minus_8(uint4(word << 19, word << 11, word << 3, word >> 5)) * inputs[i];
    sums += nibbles_minus_8(uint4(word << 15, word << 7, word >> 1, word >> 9)) * inputs[i + 4];
  }
  return (sums.x + sums.y) + (sums.z + sums.w);
}

// Adds a step's products with `rows` rows of x, `columns` apart.
template <typename Format>
inline void accumulate_step(thread const BatchStep<Format>& now, device const float* x, uint rows, uint columns,
                            uint step, uint lane, threadgroup uint4*, thread BatchSums& sums) {
  uint chunk = step * TILE_LANES + lane % TILE_LANES;
  if (chunk * CHUNK_COLUMNS >= columns) {
    return;
  }
  for (uint row = 0; row < rows; row++) {
    device const float4* source = (device const float4*)(x + ulong(row) * columns + chunk * CHUNK_COLUMNS);
    float4 inputs[8];
    float4 total = float4(0.0f);
    for (uint i = 0; i < 8; i++) {
      inputs[i] = source[i];
      total += inputs[i];
    }
    float sum = (total.x + total.y) + (total.z + total.w);
    for (uint tile = 0; tile < BATCH_TILES; tile++) {
      for (uint half_tile = 0; half_tile < 2; half_tile++) {
        uint i = tile * 2 + half_tile;
        float product = now.format[i].scale() * row_dot(now.bits[i], inputs);
        sums.rows[tile][row][half_tile] +=
            TileFormat<Format>::HAS_SHIFT ? product + now.format[i].shift() * sum : product;
      }
    }
  }
}

// Result `tile`, `output`, `row` goes to place (tile * 16 + output) * 8 + row.
inline void store_sums(thread const BatchSums& sums, uint lane, threadgroup float* results) {
  for (uint tile = 0; tile < BATCH_TILES; tile++) {
    for (uint row = 0; row < BATCH_TILE_ROWS; row++) {
      float2 total = sums.rows[tile][row];
      total += simd_shuffle_xor(total, 1);
      total += simd_shuffle_xor(total, 2);
      if (lane % TILE_LANES == 0) {
        uint place = (tile * TILE_OUTPUTS + lane / TILE_LANES) * BATCH_TILE_ROWS + row;
        results[place] = total.x;
        results[place + 8 * BATCH_TILE_ROWS] = total.y;
      }
    }
  }
}

#endif
