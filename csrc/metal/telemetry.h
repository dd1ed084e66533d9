// Counters of one device. Times are in seconds, memory in bytes.
#pragma once

#include <atomic>
#include <cstdint>

namespace fastgo::metal {

struct Telemetry {
  std::atomic<std::uint64_t> pipeline_hits{0};
  std::atomic<std::uint64_t> pipeline_misses{0};
  std::atomic<std::uint64_t> buffer_bytes{0};  // live allocations, mapped files not counted
  std::atomic<std::uint64_t> command_buffers{0};
  std::atomic<std::uint64_t> dispatches{0};
};

}  // namespace fastgo::metal
