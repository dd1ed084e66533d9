// A file's pages as one read-only device buffer, with no copy where device and host share memory.
#pragma once

#include <memory>
#include <string>

#include "metal/buffer_pool.h"

namespace fastgo::metal {

// Maps `path` whole. Throws Error when it can't be opened or mapped, or when the device can't use host memory in place.
std::shared_ptr<Buffer> map_file(MTL::Device* device, const std::string& path, std::shared_ptr<Telemetry> telemetry);

}  // namespace fastgo::metal
