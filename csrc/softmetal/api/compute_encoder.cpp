// How dispatches and indirect command buffers get into a command buffer.
#include "softmetal/api/compute_encoder.h"

#include "softmetal/api/indirect_command_buffer.h"
#include "softmetal/validation/report.h"

namespace softmetal {

bool ComputeEncoderImpl::usable(const char* call, const ObjectBase* object, const char* argument) {
  if (!recording(this, call)) return false;
  if (validation::alive(object, call, argument)) return true;
  reject(call, std::string(argument) + " is null or released");
  return false;
}

bool ComputeEncoderImpl::valid_index(const char* call, std::uint64_t index) {
  if (!recording(this, call)) return false;
  if (index < binding_count) return true;
  reject(call, "index " + std::to_string(index) + " is above 30");
  return false;
}

void ComputeEncoderImpl::dispatch(const char* call, const Grid& grid) {
  if (!recording(this, call)) return;
  std::string problem = dispatch_problem(state, grid);
  if (problem.empty() && validation::enabled()) {
    if (type == MTL::DispatchTypeSerial) hazards.barrier();
    problem = hazards.add(state);
  }
  if (!problem.empty()) {
    reject(call, problem);
    return;
  }
  Command command = make_dispatch(state, grid);
  command.barrier = barrier_next_;
  barrier_next_ = type == MTL::DispatchTypeSerial;
  command_buffer->add(command);
}

void ComputeEncoderImpl::execute(const char* call, IndirectCommandBufferImpl& commands, NS::Range range) {
  std::string problem;
  if (range.location > commands.command_count() || range.length > commands.command_count() - range.location) {
    problem = "executionRange ends at " + std::to_string(range.Max()) + ", beyond the size " +
              std::to_string(commands.command_count());
  } else if (validation::enabled()) {
    problem = execution_problem(commands, range);
  }
  std::shared_ptr<const Program> program;
  if (problem.empty()) program = commands.program(range, state, &problem);
  if (!program) {
    reject(call, problem);
    return;
  }
  command_buffer->keep_alive(&commands);
  Step step;
  step.program = std::move(program);
  command_buffer->add_step(std::move(step));
}

std::string ComputeEncoderImpl::execution_problem(const IndirectCommandBufferImpl& commands, NS::Range range) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::executeCommandsInBuffer";
  if (type == MTL::DispatchTypeSerial) hazards.barrier();
  for (NS::UInteger i = range.location; i < range.location + range.length; ++i) {
    const IndirectCommandImpl* command = commands.existing_command(i);
    if (!command) continue;
    if (command->barrier) hazards.barrier();
    if (!command->has_dispatch) continue;
    const DispatchState resolved = commands.resolved(*command, state);
    if (resolved.pipeline && !validation::alive(resolved.pipeline, call, "a command's pipeline"))
      return "it uses a released object";
    for (const Binding& binding : resolved.buffers) {
      if (binding.buffer && !validation::alive(binding.buffer, call, "a command's buffer"))
        return "it uses a released object";
    }
    std::string problem = dispatch_problem(resolved, command->grid);
    if (problem.empty() && !commands.inherits_buffers) problem = residency_problem(resolved);
    if (problem.empty()) problem = hazards.add(resolved);
    if (!problem.empty()) return "command " + std::to_string(i) + ": " + problem;
  }
  return "";
}

// Buffers of indirect commands are only resident if the encoder says so, for writing if the kernel writes them.
std::string ComputeEncoderImpl::residency_problem(const DispatchState& command) const {
  const fastgo::KernelReflection& kernel = command.pipeline->reflection();
  for (std::uint32_t i = 0; i < kernel.argument_count; ++i) {
    const fastgo::ArgumentReflection& argument = kernel.arguments[i];
    if (argument.kind != fastgo::ArgumentKind::buffer) continue;
    const BufferImpl* buffer = command.buffers[argument.index].buffer;
    if (!buffer || used_heaps.count(buffer->heap.get())) continue;
    const auto used = used_resources_.find(buffer);
    const std::string name = describe_argument(*command.pipeline, argument) + " in buffer " + describe(buffer);
    if (used == used_resources_.end()) return name + " is not made resident by useResource or useHeap";
    const bool writes = argument.access == fastgo::Access::read_write;
    if (writes && !(used->second & MTL::ResourceUsageWrite)) return name + " is used without ResourceUsageWrite";
  }
  return "";
}

void ComputeEncoderImpl::barrier() {
  barrier_next_ = true;
  hazards.barrier();
}

void ComputeEncoderImpl::use(const MTL::Resource* resource, MTL::ResourceUsage usage) {
  command_buffer->keep_alive(resource);
  if (validation::enabled()) used_resources_[resource] |= usage;
}

}  // namespace softmetal
