// The last parameter of every kernel's entry point; its twin is in shaders/compat/metal_cuda/launch.h.
#pragma once

#include "softmetal/driver.h"

namespace softmetal::cuda {

struct LaunchSizes {
  Extent threads_per_grid;
  Extent threadgroups_per_grid;
  std::uint32_t is_flat;   // CUDA's grid is one-dimensional, since its y and z end at 65535
  std::uint32_t is_whole;  // every threadgroup has all its threads
};
static_assert(sizeof(LaunchSizes) == 32);

}  // namespace softmetal::cuda
