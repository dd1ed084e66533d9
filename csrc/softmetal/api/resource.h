// The classes behind MTL::Buffer and MTL::Heap, and what all resources share.
#pragma once

#include <atomic>

#include "softmetal/api/device.h"

namespace softmetal {

MTL::StorageMode storage_mode_of(MTL::ResourceOptions options);
MTL::ResourceOptions storage_options(MTL::StorageMode mode);
MTL::HazardTrackingMode tracking_of(MTL::ResourceOptions options);

// Beside MTL::Resource in every class that derives from it.
class ResourceFields : public Labelled {
 public:
  DeviceImpl* owner = nullptr;
  MTL::ResourceOptions options = 0;
  MTL::HazardTrackingMode tracking = MTL::HazardTrackingModeTracked;
  std::uint64_t byte_length = 0;
};

ResourceFields& fields(const MTL::Resource* resource);

class HeapImpl final : public MTL::Heap, public Labelled {
 public:
  HeapImpl(DeviceImpl* heap_device, MTL::ResourceOptions heap_options, const Memory& heap_memory);
  ~HeapImpl() override;
  const char* class_name() const override { return "MTL::Heap"; }

  DeviceImpl* device;
  MTL::ResourceOptions options;
  Memory memory;
  std::atomic<std::uint64_t> used{0};  // bytes of the live buffers, counted twice where they overlap
};

inline HeapImpl* impl(const MTL::Heap* heap) { return static_cast<HeapImpl*>(const_cast<MTL::Heap*>(heap)); }

class BufferImpl final : public MTL::Buffer, public ResourceFields {
 public:
  // Where the memory comes from decides what happens to it in the end.
  enum class Origin { allocated, imported, heap };

  BufferImpl(DeviceImpl* buffer_device, Origin memory_origin, const Memory& buffer_memory,
             MTL::ResourceOptions buffer_options);
  ~BufferImpl() override;
  const char* class_name() const override { return "MTL::Buffer"; }

  Origin origin;
  Memory memory;
  NS::SharedPtr<HeapImpl> heap;
  std::uint64_t heap_offset = 0;
  MTL::Device::BufferDeallocator deallocator;
};

inline BufferImpl* impl(const MTL::Buffer* buffer) {
  return static_cast<BufferImpl*>(const_cast<MTL::Buffer*>(buffer));
}

// For reports: the label if there is one, else the kind of object.
std::string describe(const MTL::Resource* resource);

}  // namespace softmetal
