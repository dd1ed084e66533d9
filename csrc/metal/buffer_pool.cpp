// How memory is asked of Metal: size classes with their free lists, and tracked placement heaps.
#include "metal/buffer_pool.h"

#include "metal/autorelease.h"
#include "metal/error.h"

namespace fastgo::metal {
namespace {

// Pooled sizes are powers of two times 4, 5, 6 or 7 above a page, so that at most a fifth of a buffer is unused.
std::size_t round_to_class(std::size_t size) {
  constexpr std::size_t smallest = 4096;
  if (size <= smallest) return smallest;
  std::size_t power = smallest;
  while (power * 2 < size) power *= 2;
  const std::size_t step = power / 4;
  return (size + step - 1) / step * step;
}

MTL::ResourceOptions resource_options(Storage storage) {
  return storage == Storage::shared ? MTL::ResourceStorageModeShared : MTL::ResourceStorageModePrivate;
}

}  // namespace

Heap::Heap(MTL::Device* device, std::size_t size, Storage storage, const std::string& label,
           std::shared_ptr<Telemetry> telemetry)
    : size_(size),
      // Tracked, so that Metal orders command buffers that use the heap; inside an encoder barriers do.
      options_(resource_options(storage) | MTL::ResourceHazardTrackingModeTracked),
      telemetry_(std::move(telemetry)) {
  const auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
  descriptor->setType(MTL::HeapTypePlacement);
  descriptor->setSize(size);
  descriptor->setStorageMode(storage == Storage::shared ? MTL::StorageModeShared : MTL::StorageModePrivate);
  descriptor->setHazardTrackingMode(MTL::HazardTrackingModeTracked);
  handle_ = NS::TransferPtr(device->newHeap(descriptor.get()));
  if (!handle_) throw OutOfMemory("no room for " + std::to_string(size) + " bytes on the device (" + label + ")");
  handle_->setLabel(ns_string(label));
  telemetry_->buffer_bytes += size;
}

Heap::~Heap() { telemetry_->buffer_bytes -= size_; }

std::shared_ptr<Buffer> Heap::place(std::size_t offset, std::size_t size, const std::string& label) {
  const AutoreleaseScope scope;
  if (offset > size_ || size > size_ - offset) {
    throw Error("a buffer of " + std::to_string(size) + " bytes at " + std::to_string(offset) +
                " does not fit in a heap of " + std::to_string(size_) + " bytes");
  }
  auto handle = NS::TransferPtr(handle_->newBuffer(size, options_, offset));
  if (!handle) throw Error("the device can't place buffer " + label + " at " + std::to_string(offset));
  handle->setLabel(ns_string(label));
  return std::make_shared<Buffer>(std::move(handle), size, shared_from_this());
}

std::shared_ptr<Buffer> BufferPool::allocate(std::size_t size, Storage storage, const std::string& label) {
  const Class size_class{round_to_class(size), resource_options(storage)};
  NS::SharedPtr<MTL::Buffer> handle;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& waiting = free_[size_class];
    if (!waiting.empty()) {
      handle = std::move(waiting.back());
      waiting.pop_back();
    }
  }
  if (!handle) {
    handle = NS::TransferPtr(device_->newBuffer(size_class.size, size_class.options));
    if (!handle) throw OutOfMemory("no room for " + std::to_string(size) + " bytes on the device (" + label + ")");
  }
  handle->setLabel(ns_string(label));
  telemetry_->buffer_bytes += size_class.size;
  // The owner's only work is to hand the handle back once the last user is gone.
  auto pool = shared_from_this();
  std::shared_ptr<void> owner(nullptr, [pool, size_class, handle](void*) { pool->recycle(size_class, handle); });
  return std::make_shared<Buffer>(std::move(handle), size, std::move(owner));
}

void BufferPool::recycle(const Class& size_class, NS::SharedPtr<MTL::Buffer> handle) {
  telemetry_->buffer_bytes -= size_class.size;
  const std::lock_guard<std::mutex> lock(mutex_);
  free_[size_class].push_back(std::move(handle));
}

void BufferPool::trim() {
  const std::lock_guard<std::mutex> lock(mutex_);
  free_.clear();
}

}  // namespace fastgo::metal
