// Allocates scratch blocks.
#include "softmetal/cuda/scratch.h"

#include <algorithm>

namespace softmetal::cuda {
namespace {

constexpr std::size_t block_step = std::size_t{128} << 20;
// For the gate and up projections of a model of 32 billion weights, as bfloats, with one smaller block beside it.
constexpr std::size_t largest_limit = std::size_t{1536} << 20;
constexpr std::size_t share_of_memory = 16;  // a smaller GPU keeps more for its model

}  // namespace

ScratchBlock::~ScratchBlock() {
  if (!context_->enter().empty()) return;
  context_->cuda().EventDestroy(last_use_);
  context_->cuda().MemFree(address_);
  *used_ -= size_;
}

Scratch::Scratch(std::shared_ptr<Context> context)
    : context_(std::move(context)),
      limit_(std::min<std::size_t>(largest_limit, context_->memory() / share_of_memory)) {}

std::shared_ptr<ScratchBlock> Scratch::block(std::size_t size) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<ScratchBlock> block = largest_.lock();
  if (block && block->size() >= size) return block;
  size = std::min(std::max(size, limit_ - *used_), (size + block_step - 1) / block_step * block_step);
  if (*used_ + size > limit_) return nullptr;
  const Cuda& cuda = context_->cuda();
  DevicePointer address = 0;
  EventHandle event = nullptr;
  if (cuda.MemAlloc(&address, size) != success) return nullptr;
  if (cuda.EventCreate(&event, event_without_timing) != success) {
    cuda.MemFree(address);
    return nullptr;
  }
  block = std::make_shared<ScratchBlock>(context_, address, size, event, used_);
  largest_ = block;
  return block;
}

}  // namespace softmetal::cuda
