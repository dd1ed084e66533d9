// The last parameter of every kernel's entry point; its twin is in shaders/compat/metal_cuda/launch.h.
#pragma once

#include "softmetal/driver.h"

namespace softmetal::cuda {

struct LaunchSizes {
  Extent threads_per_grid;
  Extent threadgroups_per_grid;
  std::uint32_t is_flat;  // CUDA's grid is one-dimensional, since its y and z end at 65535
};
static_assert(sizeof(LaunchSizes) == 28);

}  // namespace softmetal::cuda
