// Device memory: pooled buffers, placement heaps, and buffers placed in them. Sizes are in bytes.
//
// A released pooled buffer waits in its size class for the next allocation. Thread-safe.
#pragma once

#include <Metal/Metal.hpp>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "metal/telemetry.h"

namespace fastgo::metal {

// Where a buffer's memory lives: `shared` is visible to the host, `device` may not be.
enum class Storage { shared, device };

// A buffer and what keeps its memory alive: its pool, the heap it is placed in, or the file it maps.
class Buffer {
 public:
  Buffer(NS::SharedPtr<MTL::Buffer> handle, std::size_t size, std::shared_ptr<void> owner)
      : owner_(std::move(owner)), handle_(std::move(handle)), size_(size) {}

  MTL::Buffer* handle() const { return handle_.get(); }
  std::size_t size() const { return size_; }
  // nullptr when the host can't see the memory.
  void* contents() const { return handle_->storageMode() == MTL::StorageModePrivate ? nullptr : handle_->contents(); }

 private:
  std::shared_ptr<void> owner_;  // released after handle_
  NS::SharedPtr<MTL::Buffer> handle_;
  std::size_t size_;
};

class Heap : public std::enable_shared_from_this<Heap> {
 public:
  Heap(MTL::Device* device, std::size_t size, Storage storage, const std::string& label,
       std::shared_ptr<Telemetry> telemetry);
  ~Heap();

  // A buffer of `size` bytes at `offset`, which must be a multiple of Device::heap_alignment(). Buffers may overlap:
  // their users order them.
  std::shared_ptr<Buffer> place(std::size_t offset, std::size_t size, const std::string& label);
  std::size_t size() const { return size_; }

 private:
  NS::SharedPtr<MTL::Heap> handle_;
  std::size_t size_;
  MTL::ResourceOptions options_;
  std::shared_ptr<Telemetry> telemetry_;
};

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  BufferPool(NS::SharedPtr<MTL::Device> device, std::shared_ptr<Telemetry> telemetry)
      : device_(std::move(device)), telemetry_(std::move(telemetry)) {}

  // Throws OutOfMemory when the device has no room. The contents are undefined.
  std::shared_ptr<Buffer> allocate(std::size_t size, Storage storage, const std::string& label);
  // Gives pooled memory back to the device.
  void trim();

 private:
  struct Class {
    std::size_t size;
    MTL::ResourceOptions options;
    bool operator<(const Class& other) const {
      return size != other.size ? size < other.size : options < other.options;
    }
  };
  void recycle(const Class& size_class, NS::SharedPtr<MTL::Buffer> handle);

  NS::SharedPtr<MTL::Device> device_;
  std::shared_ptr<Telemetry> telemetry_;
  std::mutex mutex_;
  std::map<Class, std::vector<NS::SharedPtr<MTL::Buffer>>> free_;
};

}  // namespace fastgo::metal
