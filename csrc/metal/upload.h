// Bringing bytes into memory that only the device sees, through small buffers that the host fills. Sizes are in bytes.
#pragma once

#include <memory>
#include <string>

#include "metal/buffer_pool.h"

namespace fastgo::metal {

// A device buffer with the file's first `size` bytes; one piece is read while the one before travels. Throws
// OutOfMemory before reading if the device has no room, Error if the file ends early.
std::shared_ptr<Buffer> upload(MTL::Device* device, MTL::CommandQueue* queue, int file, std::size_t size,
                               const std::string& label, std::shared_ptr<Telemetry> telemetry);

// Copies the whole of `source`, which the host sees, to the start of `target`, and waits.
void upload(MTL::CommandQueue* queue, const Buffer& source, const Buffer& target);

}  // namespace fastgo::metal
