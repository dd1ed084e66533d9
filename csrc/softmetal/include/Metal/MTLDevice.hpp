// A device and everything that it makes.
#pragma once

#include <functional>

#include "MTLComputePipeline.hpp"
#include "MTLResource.hpp"
#include "MTLTypes.hpp"

namespace MTL {

class Buffer;
class CommandQueue;
class CompileOptions;
class Device;
class Event;
class Fence;
class HeapDescriptor;
class IndirectCommandBuffer;
class IndirectCommandBufferDescriptor;
class Library;
class SharedEvent;

enum GPUFamily : NS::Integer {
  GPUFamilyApple1 = 1001,
  GPUFamilyApple2 = 1002,
  GPUFamilyApple3 = 1003,
  GPUFamilyApple4 = 1004,
  GPUFamilyApple5 = 1005,
  GPUFamilyApple6 = 1006,
  GPUFamilyApple7 = 1007,
  GPUFamilyApple8 = 1008,
  GPUFamilyApple9 = 1009,
  GPUFamilyApple10 = 1010,
  GPUFamilyMac1 = 2001,
  GPUFamilyMac2 = 2002,
  GPUFamilyCommon1 = 3001,
  GPUFamilyCommon2 = 3002,
  GPUFamilyCommon3 = 3003,
  GPUFamilyMetal3 = 5001,
  GPUFamilyMetal4 = 5002,
};

Device* CreateSystemDefaultDevice();
NS::Array* CopyAllDevices();

class Device : public NS::Referencing<Device> {
 public:
  // Stands in for metal-cpp's block `void (^)(void*, NS::UInteger)`: takes nullptr or anything callable.
  using BufferDeallocator = std::function<void(void* pointer, NS::UInteger length)>;

  NS::UInteger currentAllocatedSize() const;
  bool hasUnifiedMemory() const;
  SizeAndAlign heapBufferSizeAndAlign(NS::UInteger length, MTL::ResourceOptions options);
  NS::UInteger maxBufferLength() const;
  NS::UInteger maxThreadgroupMemoryLength() const;
  Size maxThreadsPerThreadgroup() const;
  NS::String* name() const;
  Buffer* newBuffer(NS::UInteger length, MTL::ResourceOptions options);
  Buffer* newBuffer(const void* pointer, NS::UInteger length, MTL::ResourceOptions options);
  // Wraps memory of the caller without a copy; pointer and length are multiples of the page size.
  Buffer* newBuffer(const void* pointer, NS::UInteger length, MTL::ResourceOptions options,
                    const BufferDeallocator& deallocator);
  CommandQueue* newCommandQueue();
  CommandQueue* newCommandQueue(NS::UInteger maxCommandBufferCount);
  ComputePipelineState* newComputePipelineState(const MTL::Function* computeFunction, NS::Error** error);
  ComputePipelineState* newComputePipelineState(const MTL::ComputePipelineDescriptor* descriptor,
                                                MTL::PipelineOption options,
                                                const MTL::AutoreleasedComputePipelineReflection* reflection,
                                                NS::Error** error);
  Event* newEvent();
  Fence* newFence();
  Heap* newHeap(const MTL::HeapDescriptor* descriptor);
  IndirectCommandBuffer* newIndirectCommandBuffer(const MTL::IndirectCommandBufferDescriptor* descriptor,
                                                  NS::UInteger maxCount, MTL::ResourceOptions options);
  Library* newLibrary(const NS::String* source, const MTL::CompileOptions* options, NS::Error** error);
  SharedEvent* newSharedEvent();
  std::uint64_t recommendedMaxWorkingSetSize() const;
  std::uint64_t registryID() const;
  bool supportsFamily(MTL::GPUFamily gpuFamily);
};

}  // namespace MTL
