// Values that order command buffers of different queues, and the host.
#pragma once

#include "MTLTypes.hpp"

namespace MTL {

class Device;

class Event : public NS::Referencing<Event> {
 public:
  Device* device() const;
  NS::String* label() const;
  void setLabel(const NS::String* label);
};

class SharedEvent : public NS::Referencing<SharedEvent, Event> {
 public:
  void setSignaledValue(std::uint64_t signaledValue);
  std::uint64_t signaledValue() const;
  bool waitUntilSignaledValue(std::uint64_t value, std::uint64_t milliseconds);  // macOS 15
};

class Fence : public NS::Referencing<Fence> {
 public:
  Device* device() const;
  NS::String* label() const;
  void setLabel(const NS::String* label);
};

}  // namespace MTL
