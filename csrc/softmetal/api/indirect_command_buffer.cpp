// Indirect command buffers: commands as recorded, and the programs made of them.
#include "softmetal/api/indirect_command_buffer.h"

#include <algorithm>

#include "softmetal/validation/report.h"

namespace softmetal {
namespace {

constexpr std::size_t max_planned_ranges = 8;

}  // namespace

bool IndirectCommandImpl::recording(const char* call) {
  if (!validation::alive(this, call)) return false;
  if (!owner) {
    validation::report(call, "the indirect command buffer of this command is gone");
    return false;
  }
  owner->changed();
  return true;
}

void IndirectCommandImpl::reject(const char* call, const std::string& problem) {
  validation::report(call, "command " + std::to_string(index) + ": " + problem);
}

void IndirectCommandImpl::set_dispatch(const char* call, const Grid& new_grid, MTL::IndirectCommandType type) {
  if (!recording(call)) return;
  if (!(owner->command_types & type)) {
    reject(call, "the descriptor's commandTypes lack this kind of dispatch");
    return;
  }
  grid = new_grid;
  has_dispatch = true;
}

void IndirectCommandImpl::clear() {
  state = DispatchState{};
  grid = Grid{};
  has_dispatch = false;
  barrier = false;
}

IndirectCommandBufferImpl::IndirectCommandBufferImpl(DeviceImpl* buffer_device,
                                                     const IndirectCommandBufferDescriptorImpl& descriptor,
                                                     std::uint64_t max_commands, MTL::ResourceOptions buffer_options)
    : command_types(descriptor.command_types),
      inherits_buffers(descriptor.inherits_buffers),
      inherits_pipeline(descriptor.inherits_pipeline),
      max_buffers(descriptor.max_buffers),
      max_threadgroup_memory(descriptor.max_threadgroup_memory),
      commands_(max_commands, nullptr) {
  owner = buffer_device;
  options = buffer_options;
}

IndirectCommandBufferImpl::~IndirectCommandBufferImpl() {
  for (IndirectCommandImpl* command : commands_) {
    if (!command) continue;
    command->owner = nullptr;
    softmetal::release(command);
  }
}

IndirectCommandImpl* IndirectCommandBufferImpl::command(NS::UInteger index) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!commands_[index]) {
    commands_[index] = make_object<IndirectCommandImpl>();
    commands_[index]->owner = this;
    commands_[index]->index = index;
  }
  return commands_[index];
}

DispatchState IndirectCommandBufferImpl::resolved(const IndirectCommandImpl& command,
                                                  const DispatchState& inherited) const {
  DispatchState state = command.state;
  if (inherits_pipeline) state.pipeline = inherited.pipeline;
  if (inherits_buffers) state.buffers = inherited.buffers;
  return state;
}

bool IndirectCommandBufferImpl::collect(NS::Range range, const DispatchState& inherited, std::vector<Command>* result,
                                        std::string* problem) {
  bool barrier = false;
  for (NS::UInteger i = range.location; i < range.location + range.length; ++i) {
    const IndirectCommandImpl* command = commands_[i];
    if (!command) continue;
    barrier |= command->barrier;
    if (!command->has_dispatch) continue;
    const DispatchState state = resolved(*command, inherited);
    *problem = dispatch_problem(state, command->grid);
    if (problem->empty() && !state.pipeline->supports_indirect) {
      *problem = "the pipeline of " + state.pipeline->kernel_name() + " was made without supportIndirectCommandBuffers";
    }
    if (!problem->empty()) {
      *problem = "command " + std::to_string(i) + ": " + *problem;
      return false;
    }
    result->push_back(make_dispatch(state, command->grid));
    result->back().barrier = barrier;
    barrier = false;
  }
  return true;
}

std::shared_ptr<const Program> IndirectCommandBufferImpl::program(NS::Range range, const DispatchState& inherited,
                                                                  std::string* problem) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Planned& planned : planned_) {
    if (planned.location == range.location && planned.length == range.length) return planned.program;
  }
  std::vector<Command> commands;
  if (!collect(range, inherited, &commands, problem)) return nullptr;
  std::shared_ptr<const Program> made = owner->driver->make_program(commands, true);
  if (inherits_buffers || inherits_pipeline) return made;
  if (planned_.size() == max_planned_ranges) planned_.erase(planned_.begin());
  planned_.push_back({range.location, range.length, made});
  return made;
}

void IndirectCommandBufferImpl::changed() {
  std::lock_guard<std::mutex> lock(mutex_);
  planned_.clear();
}

}  // namespace softmetal

namespace MTL {

using softmetal::impl;
namespace validation = softmetal::validation;

IndirectComputeCommand* IndirectCommandBuffer::indirectComputeCommand(NS::UInteger commandIndex) {
  constexpr const char* call = "MTL::IndirectCommandBuffer::indirectComputeCommand";
  if (!validation::alive(this, call)) return nullptr;
  if (commandIndex < size()) return impl(this)->command(commandIndex);
  validation::report(
      call, "commandIndex " + std::to_string(commandIndex) + " is not below the size " + std::to_string(size()));
  return nullptr;
}

void IndirectCommandBuffer::reset(NS::Range range) {
  constexpr const char* call = "MTL::IndirectCommandBuffer::reset";
  if (!validation::alive(this, call)) return;
  if (range.location > size() || range.length > size() - range.location) {
    validation::report(call,
                       "range ends at " + std::to_string(range.Max()) + ", beyond the size " + std::to_string(size()));
    return;
  }
  for (NS::UInteger i = range.location; i < range.location + range.length; ++i) impl(this)->command(i)->clear();
  impl(this)->changed();
}

NS::UInteger IndirectCommandBuffer::size() const { return impl(this)->command_count(); }

void IndirectComputeCommand::clearBarrier() {
  if (impl(this)->recording("MTL::IndirectComputeCommand::clearBarrier")) impl(this)->barrier = false;
}

void IndirectComputeCommand::concurrentDispatchThreadgroups(MTL::Size threadgroupsPerGrid,
                                                            MTL::Size threadsPerThreadgroup) {
  impl(this)->set_dispatch("MTL::IndirectComputeCommand::concurrentDispatchThreadgroups",
                           {false, threadgroupsPerGrid, threadsPerThreadgroup}, IndirectCommandTypeConcurrentDispatch);
}

void IndirectComputeCommand::concurrentDispatchThreads(MTL::Size threadsPerGrid, MTL::Size threadsPerThreadgroup) {
  impl(this)->set_dispatch("MTL::IndirectComputeCommand::concurrentDispatchThreads",
                           {true, threadsPerGrid, threadsPerThreadgroup}, IndirectCommandTypeConcurrentDispatchThreads);
}

void IndirectComputeCommand::reset() {
  if (impl(this)->recording("MTL::IndirectComputeCommand::reset")) impl(this)->clear();
}

void IndirectComputeCommand::setBarrier() {
  if (impl(this)->recording("MTL::IndirectComputeCommand::setBarrier")) impl(this)->barrier = true;
}

void IndirectComputeCommand::setComputePipelineState(const MTL::ComputePipelineState* pipelineState) {
  constexpr const char* call = "MTL::IndirectComputeCommand::setComputePipelineState";
  if (!impl(this)->recording(call) || !validation::alive(pipelineState, call, "pipelineState")) return;
  if (impl(this)->owner->inherits_pipeline) {
    impl(this)->reject(call, "the descriptor says inheritPipelineState");
  } else if (!pipelineState->supportIndirectCommandBuffers()) {
    impl(this)->reject(call, "the pipeline of " + impl(pipelineState)->kernel_name() +
                                 " was made without supportIndirectCommandBuffers");
  } else {
    impl(this)->state.pipeline = impl(pipelineState);
  }
}

void IndirectComputeCommand::setKernelBuffer(const MTL::Buffer* buffer, NS::UInteger offset, NS::UInteger index) {
  constexpr const char* call = "MTL::IndirectComputeCommand::setKernelBuffer";
  softmetal::IndirectCommandImpl* command = impl(this);
  if (!command->recording(call) || !validation::alive(buffer, call, "buffer")) return;
  const NS::UInteger limit = std::min<NS::UInteger>(command->owner->max_buffers, softmetal::binding_count);
  std::string problem;
  if (command->owner->inherits_buffers) {
    problem = "the descriptor says inheritBuffers";
  } else if (index >= limit) {
    problem = "index " + std::to_string(index) + " is not below the limit of " + std::to_string(limit);
  } else {
    problem = softmetal::bind_buffer(&command->state.buffers[index], impl(buffer), offset, index);
  }
  if (!problem.empty()) command->reject(call, problem);
}

void IndirectComputeCommand::setThreadgroupMemoryLength(NS::UInteger length, NS::UInteger index) {
  constexpr const char* call = "MTL::IndirectComputeCommand::setThreadgroupMemoryLength";
  if (!impl(this)->recording(call)) return;
  const std::string problem = softmetal::threadgroup_memory_problem(length, index);
  if (!problem.empty()) {
    impl(this)->reject(call, problem);
  } else {
    impl(this)->state.threadgroup_memory[index] = static_cast<std::uint32_t>(length);
  }
}

}  // namespace MTL
