// The classes behind MTL::Event, MTL::SharedEvent and MTL::Fence.
#pragma once

#include <memory>

#include "softmetal/api/device.h"

namespace softmetal {

// Beside MTL::Event in both event classes.
class EventFields : public Labelled {
 public:
  DeviceImpl* owner = nullptr;
  std::shared_ptr<EventState> state = std::make_shared<EventState>();
};

EventFields& fields(const MTL::Event* event);

MTL::Event* make_event(DeviceImpl* device);
MTL::SharedEvent* make_shared_event(DeviceImpl* device);
MTL::Fence* make_fence(DeviceImpl* device);

}  // namespace softmetal
