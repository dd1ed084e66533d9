// The weight formats whose one-row products go in tiles of sixteen outputs: what stands beside their nibbles.
//
// load() only reads, so that many loads can be under way; scale() and shift() come later. A weight is its nibble less 8
// times scale plus shift. Blocks are counted in 32 bits, which spares registers.
#pragma once

#include "quant.h"
#include "row_tile.h"

template <typename Format>
struct TileFormat;

template <>
struct TileFormat<Q4_0> {
  enum : bool { HAS_SHIFT = false };
  half factor;

  void load(thread const Weights& weights, uint row, uint row_blocks, uint block) {
    factor = plane<half>(weights, SCALES)[row * row_blocks + block];
  }
  float scale() const { return float(factor); }
  float shift() const { return 0.0f; }
};

template <>
struct TileFormat<Q4_1> {
  enum : bool { HAS_SHIFT = true };
  half factor;
  half least;

  void load(thread const Weights& weights, uint row, uint row_blocks, uint block) {
    factor = plane<half>(weights, SCALES)[row * row_blocks + block];
    least = plane<half>(weights, MINS)[row * row_blocks + block];
  }
  float scale() const { return float(factor); }
  float shift() const { return 8.0f * float(factor) + float(least); }
};

template <>
struct TileFormat<Q4_K> {
  enum : bool { HAS_SHIFT = true };
  half super_scale;
  half super_least;
  uchar factor;
  uchar least;

  void load(thread const Weights& weights, uint row, uint row_blocks, uint block) {
    uint index = row * row_blocks + block;
    super_scale = plane<half>(weights, SUPER_SCALES)[index / BLOCKS_PER_SUPER_BLOCK];
    super_least = plane<half>(weights, SUPER_MINS)[index / BLOCKS_PER_SUPER_BLOCK];
    factor = plane<uchar>(weights, SCALES)[index];
    least = plane<uchar>(weights, MINS)[index];
  }
  float scale() const { return float(super_scale) * float(factor); }
  float shift() const { return 8.0f * scale() - float(super_least) * float(least); }
};

template <>
struct TileFormat<Int4> {
  enum : bool { HAS_SHIFT = true };
  half factor;
  uchar zero;

  void load(thread const Weights& weights, uint row, uint row_blocks, uint block) {
    // A group is a whole row, or a power of two of blocks.
    uint group_blocks = weights.planes[GROUP_BLOCKS];
    uint group = group_blocks == row_blocks ? row : (row * row_blocks + block) >> ctz(group_blocks);
    factor = plane<half>(weights, SCALES)[group];
    zero = has_zero_points(weights) ? plane<uchar>(weights, MINS)[group] : uchar(8);
  }
  float scale() const { return float(factor); }
  float shift() const { return float(factor) * (8.0f - float(zero)); }
};

// Calls MACRO(name, Format) for every format that has tiles.
#define FOR_EACH_TILE_FORMAT(MACRO) \
  MACRO(q4_0, Q4_0)                 \
  MACRO(q4_1, Q4_1)                 \
  MACRO(q4_k, Q4_K)                 \
  MACRO(int4, Int4)
