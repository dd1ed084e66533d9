// Resources, buffers and heaps.
#include "softmetal/api/resource.h"

#include "softmetal/foundation/values.h"
#include "softmetal/validation/report.h"

namespace softmetal {
namespace {

constexpr MTL::ResourceOptions storage_mask = 0xf0;
constexpr MTL::ResourceOptions cache_mask = 0xf;

}  // namespace

MTL::StorageMode storage_mode_of(MTL::ResourceOptions options) {
  return static_cast<MTL::StorageMode>((options & storage_mask) >> 4);
}

MTL::ResourceOptions storage_options(MTL::StorageMode mode) { return mode << 4; }

MTL::HazardTrackingMode tracking_of(MTL::ResourceOptions options) {
  return static_cast<MTL::HazardTrackingMode>((options >> 8) & 3);
}

ResourceFields& fields(const MTL::Resource* resource) {
  return *dynamic_cast<ResourceFields*>(const_cast<MTL::Resource*>(resource));
}

HeapImpl::HeapImpl(DeviceImpl* heap_device, MTL::ResourceOptions heap_options, const Memory& heap_memory)
    : device(heap_device), options(heap_options), memory(heap_memory) {
  device->allocated += memory.length;
}

HeapImpl::~HeapImpl() {
  device->allocated -= memory.length;
  device->driver->free(memory);
}

BufferImpl::BufferImpl(DeviceImpl* buffer_device, Origin memory_origin, const Memory& buffer_memory,
                       MTL::ResourceOptions buffer_options)
    : origin(memory_origin), memory(buffer_memory) {
  owner = buffer_device;
  options = buffer_options;
  byte_length = memory.length;
  const MTL::HazardTrackingMode wanted = tracking_of(options);
  if (wanted != MTL::HazardTrackingModeDefault) {
    tracking = wanted;
  } else if (origin == Origin::heap) {
    tracking = MTL::HazardTrackingModeUntracked;
  }
  if (origin != Origin::heap) owner->allocated += byte_length;
}

BufferImpl::~BufferImpl() {
  if (origin == Origin::heap) {
    heap->used -= byte_length;
    return;
  }
  owner->allocated -= byte_length;
  if (origin == Origin::allocated) {
    owner->driver->free(memory);
    return;
  }
  owner->driver->release_import(memory);
  if (deallocator) deallocator(memory.host, byte_length);
}

std::string describe(const MTL::Resource* resource) {
  const NS::String* label = fields(resource).get_label();
  return label ? "\"" + text_of(label) + "\"" : std::string("an unlabelled ") + resource->class_name();
}

}  // namespace softmetal

namespace MTL {

using softmetal::BufferImpl;
using softmetal::fields;
using softmetal::impl;
namespace validation = softmetal::validation;

NS::UInteger Allocation::allocatedSize() const {
  if (const auto* resource = dynamic_cast<const Resource*>(this)) return resource->allocatedSize();
  if (const auto* heap = dynamic_cast<const softmetal::HeapImpl*>(this)) return heap->memory.length;
  return 0;
}

NS::UInteger Resource::allocatedSize() const {
  const auto* buffer = dynamic_cast<const BufferImpl*>(this);
  const bool is_imported = buffer && buffer->origin == BufferImpl::Origin::imported;
  return fields(this).byte_length + (is_imported ? buffer->owner->driver->kept_of(buffer->memory) : 0);
}

CPUCacheMode Resource::cpuCacheMode() const {
  return static_cast<CPUCacheMode>(fields(this).options & softmetal::cache_mask);
}

Device* Resource::device() const { return fields(this).owner; }

HazardTrackingMode Resource::hazardTrackingMode() const { return fields(this).tracking; }

Heap* Resource::heap() const {
  const auto* buffer = dynamic_cast<const BufferImpl*>(this);
  return buffer ? buffer->heap.get() : nullptr;
}

NS::UInteger Resource::heapOffset() const {
  const auto* buffer = dynamic_cast<const BufferImpl*>(this);
  return buffer ? buffer->heap_offset : 0;
}

NS::String* Resource::label() const { return fields(this).get_label(); }

ResourceOptions Resource::resourceOptions() const { return fields(this).options; }

void Resource::setLabel(const NS::String* label) {
  if (validation::alive(this, "MTL::Resource::setLabel")) fields(this).set_label(label);
}

StorageMode Resource::storageMode() const { return softmetal::storage_mode_of(fields(this).options); }

void* Buffer::contents() {
  constexpr const char* call = "MTL::Buffer::contents";
  if (!validation::alive(this, call)) return nullptr;
  const BufferImpl& buffer = *impl(this);
  if (storageMode() == StorageModePrivate) {
    validation::report(call, "buffer " + describe(this) + " has private storage, which the host cannot read or write");
    return nullptr;
  }
  return buffer.memory.host;
}

void Buffer::didModifyRange(NS::Range range) {
  constexpr const char* call = "MTL::Buffer::didModifyRange";
  if (!validation::alive(this, call)) return;
  if (storageMode() != StorageModeManaged) {
    validation::report(call, "buffer " + describe(this) + " does not have managed storage");
  } else if (range.location > length() || range.length > length() - range.location) {
    validation::report(call, "range ends at " + std::to_string(range.Max()) + " but buffer " + describe(this) +
                                 " has " + std::to_string(length()) + " bytes");
  }
}

GPUAddress Buffer::gpuAddress() const { return impl(this)->memory.address; }

NS::UInteger Buffer::length() const { return impl(this)->byte_length; }

CPUCacheMode Heap::cpuCacheMode() const {
  return static_cast<CPUCacheMode>(impl(this)->options & softmetal::cache_mask);
}

NS::UInteger Heap::currentAllocatedSize() const { return impl(this)->memory.length; }

Device* Heap::device() const { return impl(this)->device; }

HazardTrackingMode Heap::hazardTrackingMode() const {
  const HazardTrackingMode wanted = softmetal::tracking_of(impl(this)->options);
  return wanted == HazardTrackingModeDefault ? HazardTrackingModeUntracked : wanted;
}

NS::String* Heap::label() const { return impl(this)->get_label(); }

Buffer* Heap::newBuffer(NS::UInteger length, MTL::ResourceOptions options, NS::UInteger offset) {
  constexpr const char* call = "MTL::Heap::newBuffer";
  if (!validation::alive(this, call)) return nullptr;
  softmetal::HeapImpl& heap = *impl(this);
  std::string problem;
  if (length == 0) {
    problem = "length is 0";
  } else if (offset % softmetal::placement_alignment != 0) {
    problem = "offset " + std::to_string(offset) + " is no multiple of the alignment " +
              std::to_string(softmetal::placement_alignment);
  } else if (offset > heap.memory.length || length > heap.memory.length - offset) {
    problem = "offset " + std::to_string(offset) + " + length " + std::to_string(length) +
              " is beyond the heap's size " + std::to_string(heap.memory.length);
  } else if (softmetal::storage_mode_of(options) != storageMode()) {
    problem = "options ask for another storage mode than the heap's";
  }
  if (!problem.empty()) {
    validation::report(call, problem);
    return nullptr;
  }
  softmetal::Memory memory = heap.memory;
  memory.host = memory.host ? static_cast<char*>(memory.host) + offset : nullptr;
  memory.address += offset;
  memory.length = length;
  const ResourceOptions tracked = options | (heap.options & ResourceHazardTrackingModeTracked);
  BufferImpl* buffer = softmetal::make_object<BufferImpl>(heap.device, BufferImpl::Origin::heap, memory, tracked);
  buffer->heap = NS::RetainPtr(&heap);
  buffer->heap_offset = offset;
  heap.used += length;
  return buffer;
}

ResourceOptions Heap::resourceOptions() const { return impl(this)->options; }

void Heap::setLabel(const NS::String* label) {
  if (validation::alive(this, "MTL::Heap::setLabel")) impl(this)->set_label(label);
}

NS::UInteger Heap::size() const { return impl(this)->memory.length; }

StorageMode Heap::storageMode() const { return softmetal::storage_mode_of(impl(this)->options); }

HeapType Heap::type() const { return HeapTypePlacement; }

NS::UInteger Heap::usedSize() const { return impl(this)->used; }

}  // namespace MTL
