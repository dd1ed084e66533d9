// How the kernels that make a one-row product with whole threadgroups are cut up.
//
// `parts` simdgroups of a threadgroup share a tile of outputs: each takes every `parts`-th step of the columns. A
// pipeline is made for one shape and cut, so that all counts are known when it is compiled.
#pragma once

#include <metal_stdlib>
using namespace metal;

constant uint tile_columns [[function_constant(0)]];
constant uint tile_parts [[function_constant(1)]];       // a power of two
constant uint tile_simdgroups [[function_constant(2)]];  // of a threadgroup, a multiple of the parts

constant constexpr uint MAX_TILE_SIMDGROUPS = 16;

// Where a simdgroup stands.
struct TilePlace {
  uint lane;
  uint simdgroup;
  uint part;
  uint first_output;
};

inline TilePlace place_in_tiles(uint group, uint lane, uint simdgroup, uint tile_outputs) {
  uint tile = group * (tile_simdgroups / tile_parts) + simdgroup / tile_parts;
  return {lane, simdgroup, simdgroup % tile_parts, tile * tile_outputs};
}
