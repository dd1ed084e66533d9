// Events; and fences, which need no work here because encoders run one after the other.
#include "softmetal/api/event.h"

namespace softmetal {
namespace {

class EventImpl final : public MTL::Event, public EventFields {
 public:
  const char* class_name() const override { return "MTL::Event"; }
};

class SharedEventImpl final : public MTL::SharedEvent, public EventFields {
 public:
  const char* class_name() const override { return "MTL::SharedEvent"; }
};

class FenceImpl final : public MTL::Fence, public Labelled {
 public:
  const char* class_name() const override { return "MTL::Fence"; }
  DeviceImpl* owner = nullptr;
};

FenceImpl* fence_impl(const MTL::Fence* fence) { return static_cast<FenceImpl*>(const_cast<MTL::Fence*>(fence)); }

template <class Impl>
Impl* make(DeviceImpl* device) {
  Impl* object = make_object<Impl>();
  object->owner = device;
  return object;
}

}  // namespace

EventFields& fields(const MTL::Event* event) { return *dynamic_cast<EventFields*>(const_cast<MTL::Event*>(event)); }

MTL::Event* make_event(DeviceImpl* device) { return make<EventImpl>(device); }
MTL::SharedEvent* make_shared_event(DeviceImpl* device) { return make<SharedEventImpl>(device); }
MTL::Fence* make_fence(DeviceImpl* device) { return make<FenceImpl>(device); }

}  // namespace softmetal

namespace MTL {

using softmetal::fields;

Device* Event::device() const { return fields(this).owner; }
NS::String* Event::label() const { return fields(this).get_label(); }
void Event::setLabel(const NS::String* label) { fields(this).set_label(label); }

void SharedEvent::setSignaledValue(std::uint64_t signaledValue) {
  if (!softmetal::validation::alive(this, "MTL::SharedEvent::setSignaledValue")) return;
  softmetal::EventFields& event = fields(this);
  event.owner->driver->signal(*event.state, signaledValue);
}

std::uint64_t SharedEvent::signaledValue() const { return fields(this).state->value(); }

bool SharedEvent::waitUntilSignaledValue(std::uint64_t value, std::uint64_t milliseconds) {
  return fields(this).state->wait(value, milliseconds);
}

Device* Fence::device() const { return softmetal::fence_impl(this)->owner; }
NS::String* Fence::label() const { return softmetal::fence_impl(this)->get_label(); }
void Fence::setLabel(const NS::String* label) { softmetal::fence_impl(this)->set_label(label); }

}  // namespace MTL
