// Arguments of rope_attention, for the shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct RopeAttentionArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint capacity;
  uint window;
  float scale;
  float eps;
};

// `splits` parts of the context.
struct RopeAttentionSplitArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint capacity;
  uint window;
  uint splits;
  float scale;
  float eps;
};
