// Records dispatches of kernels.
#pragma once

#include "MTLCommandBuffer.hpp"
#include "MTLCommandEncoder.hpp"

namespace MTL {

class Buffer;
class ComputePipelineState;
class Fence;
class Heap;
class IndirectCommandBuffer;
class Resource;

class ComputeCommandEncoder : public NS::Referencing<ComputeCommandEncoder, CommandEncoder> {
 public:
  void dispatchThreadgroups(MTL::Size threadgroupsPerGrid, MTL::Size threadsPerThreadgroup);
  void dispatchThreads(MTL::Size threadsPerGrid, MTL::Size threadsPerThreadgroup);
  DispatchType dispatchType() const;
  void executeCommandsInBuffer(const MTL::IndirectCommandBuffer* indirectCommandBuffer, NS::Range executionRange);
  void memoryBarrier(MTL::BarrierScope scope);
  void memoryBarrier(const MTL::Resource* const resources[], NS::UInteger count);
  void setBuffer(const MTL::Buffer* buffer, NS::UInteger offset, NS::UInteger index);
  void setBufferOffset(NS::UInteger offset, NS::UInteger index);
  void setBuffers(const MTL::Buffer* const buffers[], const NS::UInteger offsets[], NS::Range range);
  void setBytes(const void* bytes, NS::UInteger length, NS::UInteger index);
  void setComputePipelineState(const MTL::ComputePipelineState* state);
  void setThreadgroupMemoryLength(NS::UInteger length, NS::UInteger index);
  void updateFence(const MTL::Fence* fence);
  void useHeap(const MTL::Heap* heap);
  void useHeaps(const MTL::Heap* const heaps[], NS::UInteger count);
  void useResource(const MTL::Resource* resource, MTL::ResourceUsage usage);
  void useResources(const MTL::Resource* const resources[], NS::UInteger count, MTL::ResourceUsage usage);
  void waitForFence(const MTL::Fence* fence);
};

}  // namespace MTL
