// A queue of tasks and the thread that empties it.
#include "softmetal/api/completion_thread.h"

namespace softmetal {

CompletionThread::~CompletionThread() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  posted_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CompletionThread::post(std::function<void()> task) {
  unfinished_.fetch_add(1, std::memory_order_acq_rel);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  }
  posted_.notify_one();
}

void CompletionThread::work() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    posted_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
    if (tasks_.empty()) return;
    std::function<void()> task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // what it holds is released before the thread counts as idle
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    lock.lock();
  }
}

}  // namespace softmetal
