// The order of command buffers, and how many may be unfinished.
#include "softmetal/api/command_queue.h"

#include <algorithm>

#include "softmetal/api/command_buffer.h"

namespace softmetal {

CommandQueueImpl::CommandQueueImpl(DeviceImpl* queue_device, std::uint64_t max_command_buffers)
    : device(queue_device), queue_(queue_device->driver->make_queue()), free_places_(max_command_buffers) {}

CommandBufferImpl* CommandQueueImpl::make_command_buffer(bool retains_references) {
  {
    std::unique_lock<std::mutex> lock(mutex_);
    place_freed_.wait(lock, [this] { return free_places_ > 0; });
    --free_places_;
  }
  return make_object<CommandBufferImpl>(this, retains_references);
}

void CommandQueueImpl::free_place() {
  // Notified under the lock: whoever waits may release the last reference to this queue as soon as it goes on.
  std::lock_guard<std::mutex> lock(mutex_);
  ++free_places_;
  place_freed_.notify_one();
}

void CommandQueueImpl::enqueue(CommandBufferImpl* buffer) {
  std::lock_guard<std::mutex> lock(mutex_);
  enqueued_.push_back(buffer);
}

void CommandQueueImpl::submit_committed() {
  std::lock_guard<std::mutex> lock(mutex_);
  while (!enqueued_.empty() && enqueued_.front()->is_committed()) {
    queue_->submit(enqueued_.front()->take_submission());
    enqueued_.pop_front();
  }
}

void CommandQueueImpl::abandon(CommandBufferImpl* buffer) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    enqueued_.erase(std::remove(enqueued_.begin(), enqueued_.end(), buffer), enqueued_.end());
  }
  submit_committed();
}

}  // namespace softmetal

namespace MTL {

using softmetal::impl;
namespace validation = softmetal::validation;

CommandBuffer* CommandQueue::commandBuffer() {
  if (!validation::alive(this, "MTL::CommandQueue::commandBuffer")) return nullptr;
  return impl(this)->make_command_buffer(true)->autorelease();
}

CommandBuffer* CommandQueue::commandBufferWithUnretainedReferences() {
  if (!validation::alive(this, "MTL::CommandQueue::commandBufferWithUnretainedReferences")) return nullptr;
  return impl(this)->make_command_buffer(false)->autorelease();
}

Device* CommandQueue::device() const { return impl(this)->device; }
NS::String* CommandQueue::label() const { return impl(this)->get_label(); }
void CommandQueue::setLabel(const NS::String* label) { impl(this)->set_label(label); }

}  // namespace MTL
