// The public functions of MTL::ComputeCommandEncoder.
#include "softmetal/api/compute_encoder.h"
#include "softmetal/api/indirect_command_buffer.h"
#include "softmetal/validation/report.h"

namespace MTL {

using softmetal::impl;
namespace validation = softmetal::validation;

namespace {}  // namespace

void ComputeCommandEncoder::dispatchThreadgroups(MTL::Size threadgroupsPerGrid, MTL::Size threadsPerThreadgroup) {
  impl(this)->dispatch("MTL::ComputeCommandEncoder::dispatchThreadgroups",
                       {false, threadgroupsPerGrid, threadsPerThreadgroup});
}

void ComputeCommandEncoder::dispatchThreads(MTL::Size threadsPerGrid, MTL::Size threadsPerThreadgroup) {
  impl(this)->dispatch("MTL::ComputeCommandEncoder::dispatchThreads", {true, threadsPerGrid, threadsPerThreadgroup});
}

DispatchType ComputeCommandEncoder::dispatchType() const { return impl(this)->type; }

void ComputeCommandEncoder::executeCommandsInBuffer(const MTL::IndirectCommandBuffer* indirectCommandBuffer,
                                                    NS::Range executionRange) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::executeCommandsInBuffer";
  if (!impl(this)->usable(call, indirectCommandBuffer, "indirectCommandBuffer")) return;
  impl(this)->execute(call, *impl(indirectCommandBuffer), executionRange);
}

void ComputeCommandEncoder::memoryBarrier(MTL::BarrierScope scope) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::memoryBarrier";
  if (!impl(this)->recording(this, call)) return;
  if (!(scope & BarrierScopeBuffers)) {
    validation::report(call, "scope lacks BarrierScopeBuffers");
    return;
  }
  impl(this)->barrier();
}

void ComputeCommandEncoder::memoryBarrier(const MTL::Resource* const resources[], NS::UInteger count) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::memoryBarrier";
  softmetal::ComputeEncoderImpl* encoder = impl(this);
  // Execution waits for everything, which is stricter; the hazard check keeps to what the barrier promises.
  softmetal::validation::HazardTracker hazards = encoder->hazards;
  for (NS::UInteger i = 0; i < count; ++i) {
    if (!encoder->usable(call, resources[i], "a resource")) return;
    if (const auto* buffer = dynamic_cast<const softmetal::BufferImpl*>(resources[i])) {
      hazards.barrier(buffer->memory.address, buffer->byte_length);
    }
  }
  encoder->barrier();
  encoder->hazards = std::move(hazards);
}

void ComputeCommandEncoder::setBuffer(const MTL::Buffer* buffer, NS::UInteger offset, NS::UInteger index) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::setBuffer";
  softmetal::ComputeEncoderImpl* encoder = impl(this);
  if (!encoder->valid_index(call, index)) return;
  if (buffer && !encoder->usable(call, buffer, "buffer")) return;
  const auto* bound = buffer ? impl(buffer) : nullptr;
  const std::string problem = softmetal::bind_buffer(&encoder->state.buffers[index], bound, offset, index);
  if (!problem.empty()) {
    encoder->reject(call, problem);
  } else if (buffer) {
    encoder->command_buffer->keep_alive(buffer);
  }
}

void ComputeCommandEncoder::setBufferOffset(NS::UInteger offset, NS::UInteger index) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::setBufferOffset";
  softmetal::ComputeEncoderImpl* encoder = impl(this);
  if (!encoder->valid_index(call, index)) return;
  softmetal::Binding& binding = encoder->state.buffers[index];
  std::string problem = "no buffer is bound at index " + std::to_string(index);
  if (binding.buffer) problem = softmetal::bind_buffer(&binding, binding.buffer, offset, index);
  if (!problem.empty()) encoder->reject(call, problem);
}

void ComputeCommandEncoder::setBuffers(const MTL::Buffer* const buffers[], const NS::UInteger offsets[],
                                       NS::Range range) {
  if (!impl(this)->valid_index("MTL::ComputeCommandEncoder::setBuffers", range.location)) return;
  for (NS::UInteger i = 0; i < range.length; ++i) setBuffer(buffers[i], offsets[i], range.location + i);
}

void ComputeCommandEncoder::setBytes(const void* bytes, NS::UInteger length, NS::UInteger index) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::setBytes";
  softmetal::ComputeEncoderImpl* encoder = impl(this);
  if (!encoder->valid_index(call, index)) return;
  if (!bytes || length == 0 || length > 4096) {
    encoder->reject(call, bytes ? "length " + std::to_string(length) + " is not between 1 and 4096" : "bytes is null");
    return;
  }
  const std::uint64_t address = encoder->command_buffer->bytes().store(bytes, length);
  encoder->state.buffers[index] = {nullptr, 0, address, length};
  if (address == 0) encoder->reject(call, "out of memory");
}

void ComputeCommandEncoder::setComputePipelineState(const MTL::ComputePipelineState* state) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::setComputePipelineState";
  if (!impl(this)->usable(call, state, "state")) return;
  impl(this)->state.pipeline = impl(state);
  impl(this)->command_buffer->keep_alive(state);
}

void ComputeCommandEncoder::setThreadgroupMemoryLength(NS::UInteger length, NS::UInteger index) {
  constexpr const char* call = "MTL::ComputeCommandEncoder::setThreadgroupMemoryLength";
  if (!impl(this)->valid_index(call, index)) return;
  const std::string problem = softmetal::threadgroup_memory_problem(length, index);
  if (!problem.empty()) {
    impl(this)->reject(call, problem);
    return;
  }
  impl(this)->state.threadgroup_memory[index] = static_cast<std::uint32_t>(length);
}

void ComputeCommandEncoder::updateFence(const MTL::Fence* fence) {
  validation::alive(fence, "MTL::ComputeCommandEncoder::updateFence", "fence");
}

void ComputeCommandEncoder::useHeap(const MTL::Heap* heap) {
  if (!impl(this)->usable("MTL::ComputeCommandEncoder::useHeap", heap, "heap")) return;
  impl(this)->command_buffer->keep_alive(heap);
  impl(this)->used_heaps.insert(heap);
}

void ComputeCommandEncoder::useHeaps(const MTL::Heap* const heaps[], NS::UInteger count) {
  for (NS::UInteger i = 0; i < count; ++i) useHeap(heaps[i]);
}

void ComputeCommandEncoder::useResource(const MTL::Resource* resource, MTL::ResourceUsage usage) {
  if (!impl(this)->usable("MTL::ComputeCommandEncoder::useResource", resource, "resource")) return;
  impl(this)->use(resource, usage);
}

void ComputeCommandEncoder::useResources(const MTL::Resource* const resources[], NS::UInteger count,
                                         MTL::ResourceUsage usage) {
  for (NS::UInteger i = 0; i < count; ++i) useResource(resources[i], usage);
}

void ComputeCommandEncoder::waitForFence(const MTL::Fence* fence) {
  validation::alive(fence, "MTL::ComputeCommandEncoder::waitForFence", "fence");
}

}  // namespace MTL
