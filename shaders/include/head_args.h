// Arguments of the exact output head's kernels, for shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct HeadArgs {
  uint vocab_size;
  uint columns;     // a multiple of 64
  uint directions;  // of the sketch, a multiple of 4
  uint groups;      // of HEAD_GROUP rows
  uint planes[6];   // of the weight, q8_0
};

enum HeadSizes : uint { HEAD_GROUP = 256, HEAD_SIMDGROUPS = 8, HEAD_TILE_ROWS = 16 };

// What head_project leaves after the `directions` coordinates, and what follows their weights in `norms`.
enum HeadReach : uint { HEAD_REACH = 0, HEAD_SLACK = 1, HEAD_REACH_VALUES = 2 };
enum HeadNorms : uint { HEAD_REST_WEIGHT = 0, HEAD_REACH_ERROR = 1, HEAD_ROUNDING = 2, HEAD_NORM_VALUES = 3 };

#define HEAD_NOT_FINISHED (-3.0e38f)  // the logit of a row that can't be among the wanted; LOWEST_SCORE of sampling

// A tile holds what pass one reads of 16 rows, one after the other (assets/head_index.py writes it):
//   for each two blocks of 32 columns: their nibbles, then float16 scales, 16 a block. For v of 0..3, byte 4 r + j of a
//   block's v-th 64 bytes has row r's high nibbles of columns 4 v + j and, in its upper half, 16 + 4 v + j
//   for each four directions: byte 4 r + j has row r's sketch of direction j, plus 128
//   float32 scales of the sketch and bounds, 16 each
// All offsets are bytes; a tile is padded to 64.
inline uint head_tile_nibbles(uint block) { return block / 2 * 576 + block % 2 * 256; }
inline uint head_tile_scales(uint block) { return block / 2 * 576 + 512 + block % 2 * 32; }
inline uint head_tile_sketch(uint columns) { return columns * 9; }
inline uint head_tile_sketch_scales(uint columns, uint directions) { return columns * 9 + directions * 16; }
inline uint head_tile_bounds(uint columns, uint directions) { return columns * 9 + directions * 16 + 64; }
inline uint head_tile_nbytes(uint columns, uint directions) {
  return (columns * 9 + directions * 16 + 128 + 63) / 64 * 64;
}
