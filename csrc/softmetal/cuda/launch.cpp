// Sets a launch's grid and parameters.
#include "softmetal/cuda/launch.h"

#include "softmetal/cuda/pipeline.h"

namespace softmetal::cuda {
namespace {

constexpr std::uint32_t max_grid_yz = 65535;
constexpr std::uint32_t memory_alignment = 16;

bool is_whole(const Command& command) {
  const Extent &threads = command.threads_per_grid, &size = command.threads_per_threadgroup;
  const Extent& groups = command.threadgroups_per_grid;
  return threads.x == groups.x * size.x && threads.y == groups.y * size.y && threads.z == groups.z * size.z;
}

void set_grid(const Command& command, Launch& launch) {
  const Extent& groups = command.threadgroups_per_grid;
  const bool is_flat = groups.y > max_grid_yz || groups.z > max_grid_yz;
  launch.sizes = {command.threads_per_grid, groups, is_flat ? 1u : 0u, is_whole(command) ? 1u : 0u};
  KernelNode& node = launch.node;
  node.grid_x = launch.sizes.is_flat ? groups.x * groups.y * groups.z : groups.x;
  node.grid_y = launch.sizes.is_flat ? 1 : groups.y;
  node.grid_z = launch.sizes.is_flat ? 1 : groups.z;
  const Extent& threads = command.threads_per_threadgroup;
  node.block_x = threads.x;
  node.block_y = threads.y;
  node.block_z = threads.z;
}

// The order is that of tools/mslc_lib/cuda_kernels.py.
void set_parameters(const Command& command, Launch& launch) {
  const fastgo::KernelReflection& reflection = *command.pipeline->reflection;
  std::size_t count = 0;
  std::uint32_t used = 0;
  for (std::uint32_t i = 0; i < reflection.argument_count; i++) {
    const fastgo::ArgumentReflection& argument = reflection.arguments[i];
    if (argument.kind == fastgo::ArgumentKind::buffer) {
      launch.buffers[argument.index] = command.buffers[argument.index];
      launch.pointers[count++] = &launch.buffers[argument.index];
    } else {
      launch.offsets[argument.index] = used;
      const std::uint32_t length = command.threadgroup_memory[argument.index];
      used += (length + memory_alignment - 1) / memory_alignment * memory_alignment;
      launch.pointers[count++] = &launch.offsets[argument.index];
    }
  }
  launch.pointers[count] = &launch.sizes;
  launch.node.shared_size = used;
  launch.node.parameters = launch.pointers.data();
}

}  // namespace

void Launch::prepare(const Command& command) {
  node.function = static_cast<const CudaPipeline*>(command.pipeline)->function;
  set_grid(command, *this);
  set_parameters(command, *this);
}

}  // namespace softmetal::cuda
