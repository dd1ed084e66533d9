// Arguments of the norm kernels, for shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct RmsNormArgs {
  uint columns;
  float eps;
};
