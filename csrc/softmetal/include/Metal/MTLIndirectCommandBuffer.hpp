// Commands that are encoded once and executed many times.
#pragma once

#include "MTLResource.hpp"

namespace MTL {

class IndirectComputeCommand;

using IndirectCommandType = NS::UInteger;
enum : IndirectCommandType {
  IndirectCommandTypeDraw = 1,
  IndirectCommandTypeDrawIndexed = 1 << 1,
  IndirectCommandTypeDrawPatches = 1 << 2,
  IndirectCommandTypeDrawIndexedPatches = 1 << 3,
  IndirectCommandTypeConcurrentDispatch = 1 << 5,
  IndirectCommandTypeConcurrentDispatchThreads = 1 << 6,
};

class IndirectCommandBufferDescriptor : public NS::Copying<IndirectCommandBufferDescriptor> {
 public:
  static IndirectCommandBufferDescriptor* alloc();
  IndirectCommandBufferDescriptor* init();

  IndirectCommandType commandTypes() const;
  bool inheritBuffers() const;
  bool inheritPipelineState() const;
  NS::UInteger maxKernelBufferBindCount() const;
  NS::UInteger maxKernelThreadgroupMemoryBindCount() const;
  void setCommandTypes(MTL::IndirectCommandType commandTypes);
  void setInheritBuffers(bool inheritBuffers);
  void setInheritPipelineState(bool inheritPipelineState);
  void setMaxKernelBufferBindCount(NS::UInteger maxKernelBufferBindCount);
  void setMaxKernelThreadgroupMemoryBindCount(NS::UInteger maxKernelThreadgroupMemoryBindCount);  // macOS 14
};

class IndirectCommandBuffer : public NS::Referencing<IndirectCommandBuffer, Resource> {
 public:
  IndirectComputeCommand* indirectComputeCommand(NS::UInteger commandIndex);
  void reset(NS::Range range);
  NS::UInteger size() const;
};

}  // namespace MTL
