// Device memory that programs use within one run and share: never two of them at a time.
//
// A program keeps the block that it was built with; a larger one takes its place for later programs. Streams take turns
// at a block by its event.
#pragma once

#include <memory>
#include <mutex>

#include "softmetal/cuda/context.h"

namespace softmetal::cuda {

class ScratchBlock {
 public:
  // `address` was allocated by the context and is freed with the block.
  ScratchBlock(std::shared_ptr<Context> context, DevicePointer address, std::size_t size, EventHandle last_use)
      : context_(std::move(context)), address_(address), size_(size), last_use_(last_use) {}
  ~ScratchBlock();

  DevicePointer address() const { return address_; }
  std::size_t size() const { return size_; }

  // Lets `enqueue(stream)` put work into the stream that uses the block, after whatever used it before.
  template <typename F>
  Result use(StreamHandle stream, F enqueue) {
    std::lock_guard<std::mutex> lock(mutex_);
    const Cuda& cuda = context_->cuda();
    Result result = cuda.StreamWaitEvent(stream, last_use_, 0);
    if (result == success) result = enqueue(stream);
    return result == success ? cuda.EventRecord(last_use_, stream) : result;
  }

 private:
  std::shared_ptr<Context> context_;
  DevicePointer address_;
  std::size_t size_;
  EventHandle last_use_;
  std::mutex mutex_;
};

class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Context> context) : context_(std::move(context)) {}

  // A block of at least `size` bytes; null if there is no memory for it. The context is the thread's.
  std::shared_ptr<ScratchBlock> block(std::size_t size);

 private:
  std::shared_ptr<Context> context_;
  std::mutex mutex_;
  std::weak_ptr<ScratchBlock> largest_;
};

}  // namespace softmetal::cuda
