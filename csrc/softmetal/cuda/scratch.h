// Device memory that programs use within one run and share: never two of them at a time.
//
// A program keeps the block that it was built with; a larger one takes its place for later programs. Streams take turns
// at a block by its event. All blocks together have a limit, so that what models and their caches may take is known
// beforehand; sizes are rounded up, so that there are few.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "softmetal/cuda/context.h"

namespace softmetal::cuda {

class ScratchBlock {
 public:
  // `address` was allocated by the context and is freed with the block; its size is part of `used` until then.
  ScratchBlock(std::shared_ptr<Context> context, DevicePointer address, std::size_t size, EventHandle last_use,
               std::shared_ptr<std::atomic<std::size_t>> used)
      : context_(std::move(context)), address_(address), size_(size), last_use_(last_use), used_(std::move(used)) {
    *used_ += size_;
  }
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
  std::shared_ptr<std::atomic<std::size_t>> used_;
  std::mutex mutex_;
};

class Scratch {
 public:
  explicit Scratch(std::shared_ptr<Context> context);

  // What all blocks together take at most, in bytes.
  std::size_t limit() const { return limit_; }

  // A block of at least `size` bytes; null if there is no memory for it, or the limit is reached. The context is the
  // thread's.
  std::shared_ptr<ScratchBlock> block(std::size_t size);

 private:
  std::shared_ptr<Context> context_;
  const std::size_t limit_;
  const std::shared_ptr<std::atomic<std::size_t>> used_ = std::make_shared<std::atomic<std::size_t>>(0);
  std::mutex mutex_;
  std::weak_ptr<ScratchBlock> largest_;
};

}  // namespace softmetal::cuda
