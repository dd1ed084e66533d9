// Finds the machine's NVIDIA GPUs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softmetal/driver.h"

namespace softmetal::cuda {

struct CudaDevices {
  std::vector<std::unique_ptr<Driver>> drivers;  // one a usable GPU
  std::string problem;                           // why a GPU can't be used, "" if all can
  bool has_gpu = false;                          // the machine has one, usable or not
};

// Opens no context yet: that happens at a device's first use.
CudaDevices find_devices(const Environment& environment);

}  // namespace softmetal::cuda
