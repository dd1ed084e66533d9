// A queue runs its command buffers in the order in which they were enqueued.
#pragma once

#include "MTLTypes.hpp"

namespace MTL {

class CommandBuffer;
class Device;

class CommandQueue : public NS::Referencing<CommandQueue> {
 public:
  CommandBuffer* commandBuffer();  // blocks while maxCommandBufferCount of them are unfinished
  CommandBuffer* commandBufferWithUnretainedReferences();
  Device* device() const;
  NS::String* label() const;
  void setLabel(const NS::String* label);
};

}  // namespace MTL
