// A dispatch made ready for a GPU: a kernel with the values of all its parameters.
#pragma once

#include <array>

#include "softmetal/cuda/launch_sizes.h"
#include "softmetal/cuda/libcuda.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

// `pointers` point into it: it must not move.
struct Launch {
  KernelNode node{};
  LaunchSizes sizes{};
  std::array<std::uint64_t, binding_count> buffers{};
  std::array<std::uint32_t, binding_count> offsets{};  // of threadgroup memory, bytes
  std::array<void*, 2 * binding_count + 1> pointers{};

  Launch() = default;
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  // From a dispatch with a pipeline of this driver.
  void prepare(const Command& command);

  Result enqueue(const Cuda& cuda, StreamHandle stream) const {
    return cuda.LaunchKernel(node.function, node.grid_x, node.grid_y, node.grid_z, node.block_x, node.block_y,
                             node.block_z, node.shared_size, stream, node.parameters, nullptr);
  }
};

}  // namespace softmetal::cuda
