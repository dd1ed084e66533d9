// A file as one read-only device buffer: its pages where device and host share memory, else a copy on the device.
#pragma once

#include <memory>
#include <string>

#include "metal/buffer_pool.h"

namespace fastgo::metal {

// Takes `path` whole. Throws Error when it can't be opened, mapped or read, or when the device can't use host memory in
// place, and OutOfMemory, before anything is read, when a copy does not fit.
std::shared_ptr<Buffer> map_file(MTL::Device* device, MTL::CommandQueue* queue, const std::string& path,
                                 std::shared_ptr<Telemetry> telemetry);

}  // namespace fastgo::metal
