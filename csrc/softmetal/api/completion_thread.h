// Calls the handlers of command buffers, in order, on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace softmetal {

class CompletionThread {
 public:
  ~CompletionThread();

  // Runs `task` after all that were posted before; the thread starts with the first.
  void post(std::function<void()> task);

  // Whether everything posted has run.
  bool is_idle() const { return unfinished_.load(std::memory_order_acquire) == 0; }

 private:
  void work();

  std::atomic<unsigned> unfinished_{0};
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace softmetal
