// Arguments of rope_cache, for the shader and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct RopeCacheArgs {
  uint num_sequences;
  uint heads;
  uint kv_heads;
  uint head_dim;
  uint rotary_dim;  // the first elements of a head that are rotated; the rest pass through
  uint capacity;
  float eps;
};
