// Allocates scratch blocks.
#include "softmetal/cuda/scratch.h"

namespace softmetal::cuda {

ScratchBlock::~ScratchBlock() {
  if (!context_->enter().empty()) return;
  context_->cuda().EventDestroy(last_use_);
  context_->cuda().MemFree(address_);
}

std::shared_ptr<ScratchBlock> Scratch::block(std::size_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<ScratchBlock> block = largest_.lock();
  if (block && block->size() >= size) return block;
  const Cuda& cuda = context_->cuda();
  DevicePointer address = 0;
  EventHandle event = nullptr;
  if (cuda.MemAlloc(&address, size) != success) return nullptr;
  if (cuda.EventCreate(&event, event_without_timing) != success) {
    cuda.MemFree(address);
    return nullptr;
  }
  block = std::make_shared<ScratchBlock>(context_, address, size, event);
  largest_ = block;
  return block;
}

}  // namespace softmetal::cuda
