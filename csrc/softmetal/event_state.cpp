// Raising an event's value and waiting for it on the host.
#include "softmetal/event_state.h"

#include <algorithm>
#include <chrono>

namespace softmetal {

void EventState::raise(std::uint64_t value) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (value_.load(std::memory_order_relaxed) >= value) return;
    value_.store(value, std::memory_order_release);
  }
  raised_.notify_all();
}

bool EventState::wait(std::uint64_t value, std::uint64_t milliseconds) {
  // A day stands in for longer times, which would overflow the clock.
  const auto limit = std::chrono::milliseconds(std::min<std::uint64_t>(milliseconds, 86'400'000));
  std::unique_lock<std::mutex> lock(mutex_);
  return raised_.wait_for(lock, limit, [&] { return value_.load(std::memory_order_relaxed) >= value; });
}

}  // namespace softmetal
