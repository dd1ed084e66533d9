// The thread that takes submissions from the queues and runs them on the pool, as one of its workers.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "softmetal/cpu/thread_pool.h"
#include "softmetal/driver.h"

namespace softmetal::cpu {

class Executor {
 public:
  explicit Executor(unsigned threads);
  ~Executor();

  unsigned threads() const { return pool_.size(); }
  std::unique_ptr<Queue> make_queue();

  // To be called after an event was raised by the host.
  void event_raised() { note_activity(); }

 private:
  // One queue's submissions. Only the executor's thread touches what follows `pending`.
  struct QueueState {
    std::mutex mutex;
    std::deque<std::shared_ptr<Submission>> pending;
    std::shared_ptr<Submission> current;
    std::size_t next_step = 0;
    double start_time = 0;
    std::string fault;
  };

  class QueueHandle;

  void work();
  bool advance(QueueState& queue);
  bool start_next(QueueState& queue);
  void run_programs(QueueState& queue);
  void note_activity();

  ThreadPool pool_;
  std::mutex mutex_;
  std::condition_variable active_;
  std::vector<std::shared_ptr<QueueState>> queues_;
  std::atomic<std::uint64_t> activity_{0};  // rises whenever a queue may have become runnable
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace softmetal::cpu
