// Arguments of the mixture-of-experts kernels, for shaders and for native kernels of the same name.
//
// A pair is one token with one expert chosen for it: pair token * top_k + slot. Weights are stacked: the rows of expert
// e start at row e * outputs.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct MoeMatmulArgs {
  uint pairs;
  uint pairs_per_row;  // consecutive pairs that read the same row of x
  uint num_experts;
  uint outputs;
  uint columns;
  uint planes[6];
};

struct MoeMatmulGluArgs {
  uint pairs;
  uint pairs_per_row;
  uint num_experts;
  uint outputs;
  uint columns;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
};

// A tile of the grouped forms: the pairs order[begin .. end) of one expert. Tiles that are not needed are empty.
struct MoeTile {
  int expert;
  int begin;
  int end;
};
