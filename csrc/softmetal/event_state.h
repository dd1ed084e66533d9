// The value behind an event: it only rises, programs and the host wait for it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace softmetal {

class EventState {
 public:
  std::uint64_t value() const { return value_.load(std::memory_order_acquire); }

  // Sets the value unless it is higher already.
  void raise(std::uint64_t value);

  // Waits until the value is reached; false after `milliseconds`.
  bool wait(std::uint64_t value, std::uint64_t milliseconds);

 private:
  std::atomic<std::uint64_t> value_{0};
  std::mutex mutex_;
  std::condition_variable raised_;
};

}  // namespace softmetal
