// The class behind MTL::Device.
#pragma once

#include <atomic>
#include <memory>

#include "softmetal/api/bytes_arena.h"
#include "softmetal/api/completion_thread.h"
#include "softmetal/api/labelled.h"
#include "softmetal/driver.h"

namespace softmetal {

// One per driver, made at the first request and kept for the life of the process, as on a Mac.
class DeviceImpl final : public MTL::Device, public Labelled {
 public:
  explicit DeviceImpl(std::unique_ptr<Driver> device_driver);
  const char* class_name() const override { return "MTL::Device"; }

  std::unique_ptr<Driver> driver;
  BytesPool bytes_pool;
  CompletionThread completion;
  std::atomic<std::uint64_t> allocated{0};  // bytes of buffers and heaps
  NS::SharedPtr<NS::String> name_string;
};

inline DeviceImpl* impl(const MTL::Device* device) {
  return static_cast<DeviceImpl*>(const_cast<MTL::Device*>(device));
}

}  // namespace softmetal
