// A recording of encoders that runs after commit().
#pragma once

#include <functional>

#include "MTLTypes.hpp"

namespace MTL {

class BlitCommandEncoder;
class CommandBuffer;
class CommandQueue;
class ComputeCommandEncoder;
class Device;
class Event;

enum CommandBufferStatus : NS::UInteger {
  CommandBufferStatusNotEnqueued = 0,
  CommandBufferStatusEnqueued = 1,
  CommandBufferStatusCommitted = 2,
  CommandBufferStatusScheduled = 3,
  CommandBufferStatusCompleted = 4,
  CommandBufferStatusError = 5,
};

enum CommandBufferError : NS::UInteger {
  CommandBufferErrorNone = 0,
  CommandBufferErrorInternal = 1,
  CommandBufferErrorTimeout = 2,
  CommandBufferErrorPageFault = 3,
  CommandBufferErrorBlacklisted = 4,
  CommandBufferErrorAccessRevoked = 4,
  CommandBufferErrorNotPermitted = 7,
  CommandBufferErrorOutOfMemory = 8,
  CommandBufferErrorInvalidResource = 9,
  CommandBufferErrorMemoryless = 10,
  CommandBufferErrorDeviceRemoved = 11,
  CommandBufferErrorStackOverflow = 12,
};

enum DispatchType : NS::UInteger {
  DispatchTypeSerial = 0,
  DispatchTypeConcurrent = 1,
};

using HandlerFunction = std::function<void(CommandBuffer*)>;

class CommandBuffer : public NS::Referencing<CommandBuffer> {
 public:
  CFTimeInterval GPUEndTime() const;
  CFTimeInterval GPUStartTime() const;
  void addCompletedHandler(const MTL::HandlerFunction& function);
  void addScheduledHandler(const MTL::HandlerFunction& function);
  BlitCommandEncoder* blitCommandEncoder();
  CommandQueue* commandQueue() const;
  void commit();
  ComputeCommandEncoder* computeCommandEncoder();
  ComputeCommandEncoder* computeCommandEncoder(MTL::DispatchType dispatchType);
  Device* device() const;
  void encodeSignalEvent(const MTL::Event* event, std::uint64_t value);
  void encodeWait(const MTL::Event* event, std::uint64_t value);
  void enqueue();
  NS::Error* error() const;
  CFTimeInterval kernelEndTime() const;
  CFTimeInterval kernelStartTime() const;
  NS::String* label() const;
  bool retainedReferences() const;
  void setLabel(const NS::String* label);
  CommandBufferStatus status() const;
  void waitUntilCompleted();
  void waitUntilScheduled();
};

}  // namespace MTL
