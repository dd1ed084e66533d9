// The class behind MTL::CommandQueue.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "softmetal/api/device.h"

namespace softmetal {

class CommandBufferImpl;

class CommandQueueImpl final : public MTL::CommandQueue, public Labelled {
 public:
  CommandQueueImpl(DeviceImpl* queue_device, std::uint64_t max_command_buffers);
  const char* class_name() const override { return "MTL::CommandQueue"; }

  // Makes a command buffer, after waiting for a free place.
  CommandBufferImpl* make_command_buffer(bool retains_references);
  void free_place();

  // Reserves the next place in the order of execution.
  void enqueue(CommandBufferImpl* buffer);
  // Hands the committed ones at the front to the driver.
  void submit_committed();
  // Forgets a command buffer that was never committed.
  void abandon(CommandBufferImpl* buffer);

  DeviceImpl* device;

 private:
  std::unique_ptr<Queue> queue_;
  std::mutex mutex_;
  std::condition_variable place_freed_;
  std::uint64_t free_places_;
  std::deque<CommandBufferImpl*> enqueued_;  // in order; not yet handed over
};

inline CommandQueueImpl* impl(const MTL::CommandQueue* queue) {
  return static_cast<CommandQueueImpl*>(const_cast<MTL::CommandQueue*>(queue));
}

}  // namespace softmetal
