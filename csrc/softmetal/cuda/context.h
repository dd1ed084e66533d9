// One NVIDIA GPU: its numbers, and the primary context, which is made when it is first needed.
#pragma once

#include <mutex>
#include <string>

#include "softmetal/cuda/libcuda.h"

namespace softmetal::cuda {

class Context {
 public:
  Context(const Cuda& cuda, DeviceNumber device);

  const Cuda& cuda() const { return cuda_; }
  const std::string& name() const { return name_; }
  std::uint64_t memory() const { return memory_; }
  int architecture() const { return architecture_; }  // 90 for compute capability 9.0

  int shared_memory_per_core() const { return shared_memory_per_core_; }  // bytes

  // Makes the context the calling thread's; "" or why there is none. Needed before any call that uses the device.
  std::string enter();

 private:
  const Cuda& cuda_;
  DeviceNumber device_;
  std::string name_;
  std::uint64_t memory_ = 0;
  int architecture_ = 0;
  int shared_memory_per_core_ = 0;
  std::mutex mutex_;
  ContextHandle handle_ = nullptr;
  std::string problem_;
};

}  // namespace softmetal::cuda
