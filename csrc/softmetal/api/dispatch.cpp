// Checks of bindings and grids, and the step from a dispatch to the driver's command.
#include "softmetal/api/dispatch.h"

#include <limits>

namespace softmetal {
namespace {

constexpr std::uint64_t max_extent = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t max_threadgroups = std::uint64_t{1} << 40;

std::string text(const MTL::Size& size) {
  return std::to_string(size.width) + " x " + std::to_string(size.height) + " x " + std::to_string(size.depth);
}

bool any_zero(const MTL::Size& size) { return size.width == 0 || size.height == 0 || size.depth == 0; }

bool fits_32_bits(const MTL::Size& size) {
  return size.width <= max_extent && size.height <= max_extent && size.depth <= max_extent;
}

std::uint64_t groups_along(const Grid& grid, std::uint64_t size, std::uint64_t threads) {
  return grid.in_threads ? (size + threads - 1) / threads : size;
}

Extent threadgroups_of(const Grid& grid) {
  const MTL::Size& threads = grid.threads_per_threadgroup;
  return {static_cast<std::uint32_t>(groups_along(grid, grid.size.width, threads.width)),
          static_cast<std::uint32_t>(groups_along(grid, grid.size.height, threads.height)),
          static_cast<std::uint32_t>(groups_along(grid, grid.size.depth, threads.depth))};
}

// Whether every threadgroup, those at the grid's edges too, is a whole number of simdgroups.
bool is_whole(const Grid& grid) {
  const MTL::Size &threads = grid.threads_per_threadgroup, &size = grid.size;
  const bool has_edges = grid.in_threads && (size.width % threads.width != 0 || size.height % threads.height != 0 ||
                                             size.depth % threads.depth != 0);
  return !has_edges && threads.width * threads.height * threads.depth % simdgroup_width == 0;
}

std::string grid_problem(const ComputePipelineStateImpl& pipeline, const Grid& grid) {
  const MTL::Size& threads = grid.threads_per_threadgroup;
  if (any_zero(grid.size)) return "the grid " + text(grid.size) + " of " + pipeline.kernel_name() + " is empty";
  if (any_zero(threads)) return "threadsPerThreadgroup is " + text(threads);
  const std::uint64_t limit = pipeline.max_total_threads;
  const bool too_many = threads.width > limit || threads.height > limit || threads.depth > limit ||
                        threads.width * threads.height * threads.depth > limit;
  if (too_many) {
    return "threadsPerThreadgroup " + text(threads) + " is above the limit of " + std::to_string(limit) + " of " +
           pipeline.kernel_name();
  }
  if (pipeline.whole_simdgroups && !is_whole(grid)) {
    return "threadsPerThreadgroup " + text(threads) + " leaves simdgroups incomplete, and the descriptor of " +
           pipeline.kernel_name() + " sets threadGroupSizeIsMultipleOfThreadExecutionWidth";
  }
  const std::uint64_t per_group = grid.in_threads ? 1 : limit;
  const MTL::Size longest(grid.size.width * per_group, grid.size.height * per_group, grid.size.depth * per_group);
  if (!fits_32_bits(grid.size) || !fits_32_bits(longest)) return "the grid " + text(grid.size) + " is too large";
  const Extent groups = threadgroups_of(grid);
  const std::uint64_t layer = std::uint64_t{groups.x} * groups.y;
  if (layer > max_threadgroups || layer * groups.z > max_threadgroups) {
    return "the grid " + text(grid.size) + " has too many threadgroups";
  }
  return "";
}

std::string buffer_problem(const ComputePipelineStateImpl& pipeline, const fastgo::ArgumentReflection& argument,
                           const Binding& binding) {
  const std::string name = describe_argument(pipeline, argument);
  // An argument that a function constant leaves out needs no buffer; the reflection does not tell which those are.
  const bool may_be_left_out = pipeline.reflection().constant_count > 0;
  if (binding.address == 0) return may_be_left_out ? "" : "nothing is bound to " + name;
  if (argument.alignment > 1 && binding.address % argument.alignment != 0) {
    return name + " is bound at offset " + std::to_string(binding.offset) + ", no multiple of the " +
           std::to_string(argument.alignment) + " bytes that " + argument.type + " is aligned to";
  }
  if (argument.is_reference && binding.available < argument.pointee_size) {
    return name + " needs " + std::to_string(argument.pointee_size) + " bytes for a " + argument.type + " but " +
           std::to_string(binding.available) + " are bound";
  }
  return "";
}

std::string memory_problem(const DispatchState& state) {
  std::uint64_t total = state.pipeline->pipeline->static_threadgroup_memory;
  for (const std::uint32_t length : state.threadgroup_memory) total += length;
  if (total <= max_threadgroup_memory) return "";
  return state.pipeline->kernel_name() + " would use " + std::to_string(total) +
         " bytes of threadgroup memory, more than " + std::to_string(max_threadgroup_memory);
}

}  // namespace

std::string describe_argument(const ComputePipelineStateImpl& pipeline, const fastgo::ArgumentReflection& argument) {
  const char* kind = argument.kind == fastgo::ArgumentKind::buffer ? "buffer " : "threadgroup memory ";
  return kind + std::to_string(argument.index) + " (\"" + argument.name + "\" of " + pipeline.kernel_name() + ")";
}

std::string bind_buffer(Binding* binding, const BufferImpl* buffer, std::uint64_t offset, std::uint64_t index) {
  *binding = Binding{};
  if (!buffer) return "";
  if (offset >= buffer->byte_length) {
    return "offset " + std::to_string(offset) + " at index " + std::to_string(index) + " is beyond buffer " +
           describe(buffer) + " of " + std::to_string(buffer->byte_length) + " bytes";
  }
  *binding = {buffer, offset, buffer->memory.address + offset, buffer->byte_length - offset};
  return "";
}

std::string threadgroup_memory_problem(std::uint64_t length, std::uint64_t index) {
  if (index >= binding_count) return "index " + std::to_string(index) + " is above 30";
  if (length > max_threadgroup_memory) {
    return "length " + std::to_string(length) + " is above " + std::to_string(max_threadgroup_memory);
  }
  if (length % 16 != 0) return "length " + std::to_string(length) + " is no multiple of 16";
  return "";
}

std::string dispatch_problem(const DispatchState& state, const Grid& grid) {
  if (!state.pipeline) return "no compute pipeline state is set";
  const ComputePipelineStateImpl& pipeline = *state.pipeline;
  std::string problem = grid_problem(pipeline, grid);
  if (problem.empty()) problem = memory_problem(state);
  const fastgo::KernelReflection& kernel = pipeline.reflection();
  for (std::uint32_t i = 0; i < kernel.argument_count && problem.empty(); ++i) {
    const fastgo::ArgumentReflection& argument = kernel.arguments[i];
    if (argument.index >= binding_count) return describe_argument(pipeline, argument) + " has an index above 30";
    if (argument.kind == fastgo::ArgumentKind::buffer) {
      problem = buffer_problem(pipeline, argument, state.buffers[argument.index]);
    } else if (state.threadgroup_memory[argument.index] == 0) {
      problem = "no length is set for " + describe_argument(pipeline, argument);
    }
  }
  return problem;
}

Command make_dispatch(const DispatchState& state, const Grid& grid) {
  Command command;
  command.kind = Command::Kind::dispatch;
  command.pipeline = state.pipeline->pipeline.get();
  const MTL::Size& threads = grid.threads_per_threadgroup;
  command.threads_per_threadgroup = {static_cast<std::uint32_t>(threads.width),
                                     static_cast<std::uint32_t>(threads.height),
                                     static_cast<std::uint32_t>(threads.depth)};
  command.threadgroups_per_grid = threadgroups_of(grid);
  const Extent& groups = command.threadgroups_per_grid;
  command.threads_per_grid = {
      static_cast<std::uint32_t>(grid.in_threads ? grid.size.width : groups.x * threads.width),
      static_cast<std::uint32_t>(grid.in_threads ? grid.size.height : groups.y * threads.height),
      static_cast<std::uint32_t>(grid.in_threads ? grid.size.depth : groups.z * threads.depth)};
  for (std::uint32_t i = 0; i < binding_count; ++i) command.buffers[i] = state.buffers[i].address;
  command.threadgroup_memory = state.threadgroup_memory;
  return command;
}

}  // namespace softmetal
