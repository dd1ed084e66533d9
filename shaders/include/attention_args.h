// Arguments of attention, for the shader and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct AttentionArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint capacity;
  uint window;
  float scale;
};

struct AttentionTileArgs {
  uint rows;
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint capacity;
  uint window;
  float scale;
  float soft_cap;
};
