// Prepares launches, and builds and runs graphs of them.
#include "softmetal/cuda/program.h"

#include <algorithm>

#include "softmetal/cuda/pipeline.h"

namespace softmetal::cuda {
namespace {

constexpr std::uint32_t max_grid_yz = 65535;
constexpr std::uint32_t memory_alignment = 16;
constexpr int programmatic_architecture = 90;  // the oldest with programmatic dependent launch

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

void prepare(const Command& command, Launch& launch) {
  launch.node.function = static_cast<const CudaPipeline*>(command.pipeline)->function;
  set_grid(command, launch);
  set_parameters(command, launch);
}

bool is_empty(const Command& command) {
  const Extent& groups = command.threadgroups_per_grid;
  return command.kind == Command::Kind::dispatch && (groups.x == 0 || groups.y == 0 || groups.z == 0);
}

}  // namespace

CudaProgram::CudaProgram(std::shared_ptr<Context> context, const std::vector<Command>& commands, bool replayed)
    : context_(std::move(context)), commands_(commands), launches_(commands.size()) {
  bool only_dispatches = true;
  for (std::size_t i = 0; i < commands_.size(); i++) {
    const bool is_dispatch = commands_[i].kind == Command::Kind::dispatch;
    only_dispatches = only_dispatches && is_dispatch && !is_empty(commands_[i]);
    if (is_dispatch) prepare(commands_[i], launches_[i]);
  }
  if (replayed && only_dispatches && !commands_.empty()) {
    problem_ = context_->enter();
    if (!problem_.empty()) return;
    const bool can_overlap =
        context_->cuda().GraphAddDependencies && context_->architecture() >= programmatic_architecture;
    Result result = build_graph(can_overlap);
    if (result != success && can_overlap) result = build_graph(false);
    if (result != success) problem_ = "the GPU can't make a graph of the program: " + context_->cuda().describe(result);
  }
}

CudaProgram::~CudaProgram() {
  if (graph_ && context_->enter().empty()) context_->cuda().GraphExecDestroy(graph_);
}

Result CudaProgram::build_graph(bool programmatic) {
  const Cuda& cuda = context_->cuda();
  GraphHandle graph = nullptr;
  Result result = cuda.GraphCreate(&graph, 0);
  std::vector<GraphNodeHandle> previous;
  for (std::size_t begin = 0; begin < commands_.size() && result == success;) {
    std::size_t end = begin + 1;
    while (end < commands_.size() && !commands_[end].barrier) end++;
    result = add_stage(graph, begin, end, programmatic, previous);
    begin = end;
  }
  if (result == success) result = cuda.GraphInstantiate(&graph_, graph, 0);
  if (graph) cuda.GraphDestroy(graph);
  return result;
}

// Every kernel waits for what it depends on before it reads what that wrote, so programmatic edges only hide its
// launch.
Result CudaProgram::add_stage(GraphHandle graph, std::size_t begin, std::size_t end, bool programmatic,
                              std::vector<GraphNodeHandle>& previous) {
  const Cuda& cuda = context_->cuda();
  const bool is_early = programmatic && !previous.empty();
  std::vector<GraphNodeHandle> nodes(end - begin);
  for (std::size_t i = begin; i < end; i++) {
    GraphNodeHandle& node = nodes[i - begin];
    Result result = cuda.GraphAddKernelNode(&node, graph, is_early ? nullptr : previous.data(),
                                            is_early ? 0 : previous.size(), &launches_[i].node);
    for (std::size_t p = 0; p < previous.size() && is_early && result == success; p++) {
      result = cuda.GraphAddDependencies(graph, &previous[p], &node, &programmatic_edge, 1);
    }
    if (result != success) return result;
  }
  previous = std::move(nodes);
  return success;
}

Result CudaProgram::enqueue_one(std::size_t index, StreamHandle stream) const {
  const Cuda& cuda = context_->cuda();
  const Command& command = commands_[index];
  if (command.kind == Command::Kind::copy) {
    return cuda.MemcpyAsync(command.destination, command.source, command.length, stream);
  }
  if (command.kind == Command::Kind::fill) {
    return cuda.MemsetD8Async(command.destination, command.value, command.length, stream);
  }
  if (is_empty(command)) return success;
  const KernelNode& node = launches_[index].node;
  return cuda.LaunchKernel(node.function, node.grid_x, node.grid_y, node.grid_z, node.block_x, node.block_y,
                           node.block_z, node.shared_size, stream, node.parameters, nullptr);
}

std::string CudaProgram::enqueue(StreamHandle stream) const {
  if (!problem_.empty()) return problem_;
  if (graph_) {
    const Result result = context_->cuda().GraphLaunch(graph_, stream);
    return result == success ? "" : "the GPU does not take the program: " + context_->cuda().describe(result);
  }
  for (std::size_t i = 0; i < commands_.size(); i++) {
    const Result result = enqueue_one(i, stream);
    if (result != success) return describe(i, result);
  }
  return "";
}

std::string CudaProgram::describe(std::size_t index, Result result) const {
  const Command& command = commands_[index];
  const std::string what = command.kind == Command::Kind::dispatch
                               ? "kernel " + std::string(command.pipeline->reflection->name)
                               : std::string(command.kind == Command::Kind::copy ? "a copy" : "a fill");
  return "the GPU does not take " + what + ": " + context_->cuda().describe(result);
}

}  // namespace softmetal::cuda
