// Short waits: spin first, because the next stage is usually microseconds away, then sleep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace softmetal::cpu {

inline void pause_instruction() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#endif
}

// Whether `ready()` becomes true within about `duration`.
template <class Ready>
bool spin_until(const Ready& ready, std::chrono::microseconds duration) {
  constexpr int checks_between_clock_reads = 64;
  const auto deadline = std::chrono::steady_clock::now() + duration;
  do {
    for (int i = 0; i < checks_between_clock_reads; ++i) {
      if (ready()) return true;
      pause_instruction();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// As spin_until, but offers the core to other threads between two checks: one of them may be who makes it ready.
template <class Ready>
bool yield_until(const Ready& ready, std::chrono::microseconds duration) {
  const auto deadline = std::chrono::steady_clock::now() + duration;
  do {
    if (ready()) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

// Where threads sleep. Whoever makes a condition true calls wake() afterwards, which costs one load if nobody sleeps.
// Conditions must be read and written with sequentially consistent atomics, so that no wake is lost.
class Parking {
 public:
  // Spins for `spin`, then yields for `yield`, then sleeps.
  template <class Ready>
  void wait(const Ready& ready, std::chrono::microseconds spin, std::chrono::microseconds yield) {
    if (spin_until(ready, spin) || yield_until(ready, yield)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    condition_.wait(lock, ready);
    sleepers_.fetch_sub(1);
  }

  void wake() {
    if (sleepers_.load() == 0) return;
    {
      std::lock_guard<std::mutex> lock(mutex_);
    }
    condition_.notify_all();
  }

 private:
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable condition_;
};

}  // namespace softmetal::cpu
