// Which drivers this machine can use, and in which order they are offered.
#include "softmetal/cuda/cuda_driver.h"
#include "softmetal/driver.h"

namespace softmetal {

FoundDrivers find_drivers(const Environment& environment) {
  FoundDrivers found;
  cuda::CudaDevices gpus = cuda::find_devices(environment);
  if (!gpus.problem.empty()) found.notes.push_back({"cuda", gpus.problem, gpus.has_gpu});
  found.drivers = std::move(gpus.drivers);
  found.drivers.push_back(make_cpu_driver(environment));
  return found;
}

}  // namespace softmetal
