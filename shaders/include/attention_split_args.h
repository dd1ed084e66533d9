// Arguments of attention_split and attention_combine, for shaders and for native kernels of the same names.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

// `soft_cap` 0 is none; `splits` parts of a row's context.
struct AttentionSplitArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint capacity;
  uint window;
  uint splits;
  float scale;
  float soft_cap;
};

struct AttentionSplitTileArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint capacity;
  uint window;
  uint splits;
  float scale;
};

struct AttentionCombineArgs {
  uint heads;
  uint head_dim;
  uint splits;
};

// The best score of an empty part: smaller than any, yet finite, as infinities don't survive fast math.
#define LOWEST_ATTENTION_SCORE -1e30f
