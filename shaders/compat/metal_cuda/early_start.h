// shaders/include/early_start.h on NVIDIA: programmatic dependent launch.
#pragma once

namespace metal {
namespace cuda {

// Lets the kernels that depend on this one be launched now. Without a programmatic edge between them it does nothing.
METAL_FUNC void allow_successors() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

}  // namespace cuda

// Waits until the kernels before this one are done and their writes are seen.
METAL_FUNC void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace metal
