// Reads a device's properties and keeps its primary context, which other CUDA users of the process share.
#include "softmetal/cuda/context.h"

namespace softmetal::cuda {
namespace {

constexpr int max_name = 256;

int attribute(const Cuda& cuda, DeviceNumber device, int which) {
  int value = 0;
  return cuda.DeviceGetAttribute(&value, which, device) == success ? value : 0;
}

}  // namespace

Context::Context(const Cuda& cuda, DeviceNumber device) : cuda_(cuda), device_(device) {
  char name[max_name] = "NVIDIA GPU";
  cuda_.DeviceGetName(name, max_name, device_);
  name_ = name;
  std::size_t memory = 0;
  cuda_.DeviceTotalMem(&memory, device_);
  memory_ = memory;
  architecture_ = attribute(cuda_, device_, attribute_capability_major) * 10 +
                  attribute(cuda_, device_, attribute_capability_minor);
  shared_memory_per_core_ = attribute(cuda_, device_, attribute_shared_memory_per_core);
}

std::string Context::enter() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!handle_ && problem_.empty()) {
      const Result result = cuda_.PrimaryCtxRetain(&handle_, device_);
      if (result != success) problem_ = "the GPU " + name_ + " can't be opened: " + cuda_.describe(result);
    }
    if (!problem_.empty()) return problem_;
  }
  const Result result = cuda_.CtxSetCurrent(handle_);
  return result == success ? "" : "the GPU " + name_ + " can't be used: " + cuda_.describe(result);
}

}  // namespace softmetal::cuda
