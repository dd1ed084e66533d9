// Round robin over the queues: each runs in order until it is empty or waits for an event.
#include "softmetal/cpu/executor.h"

#include <algorithm>
#include <chrono>

#include "softmetal/cpu/spin.h"

namespace softmetal::cpu {
namespace {

constexpr std::chrono::microseconds idle_spin{50};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

class Executor::QueueHandle final : public Queue {
 public:
  QueueHandle(Executor& executor, std::shared_ptr<QueueState> state) : executor_(executor), state_(std::move(state)) {}

  ~QueueHandle() override {
    std::lock_guard<std::mutex> lock(executor_.mutex_);
    std::vector<std::shared_ptr<QueueState>>& queues = executor_.queues_;
    queues.erase(std::find(queues.begin(), queues.end(), state_));
  }

  void submit(std::shared_ptr<Submission> submission) override {
    {
      std::lock_guard<std::mutex> lock(state_->mutex);
      state_->pending.push_back(std::move(submission));
    }
    executor_.note_activity();
  }

 private:
  Executor& executor_;
  std::shared_ptr<QueueState> state_;
};

Executor::Executor(unsigned threads) : pool_(threads), thread_([this] { work(); }) {}

Executor::~Executor() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  note_activity();
  thread_.join();
}

std::unique_ptr<Queue> Executor::make_queue() {
  auto state = std::make_shared<QueueState>();
  std::lock_guard<std::mutex> lock(mutex_);
  queues_.push_back(state);
  return std::make_unique<QueueHandle>(*this, std::move(state));
}

void Executor::note_activity() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    activity_.fetch_add(1);
  }
  active_.notify_one();
}

void Executor::work() {
  std::uint64_t seen = 0;
  std::vector<std::shared_ptr<QueueState>> queues;
  for (;;) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
      seen = activity_.load();
      queues = queues_;
    }
    bool progress = false;
    for (const std::shared_ptr<QueueState>& queue : queues) progress |= advance(*queue);
    queues.clear();
    if (progress || spin_until([&] { return activity_.load() != seen; }, idle_spin)) continue;
    std::unique_lock<std::mutex> lock(mutex_);
    active_.wait(lock, [&] { return activity_.load() != seen; });
  }
}

bool Executor::start_next(QueueState& queue) {
  {
    std::lock_guard<std::mutex> lock(queue.mutex);
    if (queue.pending.empty()) return false;
    queue.current = std::move(queue.pending.front());
    queue.pending.pop_front();
  }
  queue.next_step = 0;
  queue.fault.clear();
  queue.current->scheduled();
  queue.start_time = now();
  return true;
}

// Runs the queue's current submission as far as it goes; whether anything happened.
bool Executor::advance(QueueState& queue) {
  bool progress = false;
  if (!queue.current) {
    if (!start_next(queue)) return false;
    progress = true;
  }
  const std::vector<Step>& steps = queue.current->steps;
  while (queue.next_step < steps.size()) {
    const Step& step = steps[queue.next_step];
    if (step.kind == Step::Kind::wait && step.event->value() < step.value) return progress;
    if (step.kind == Step::Kind::run) {
      run_programs(queue);
    } else {
      if (step.kind == Step::Kind::signal) step.event->raise(step.value);
      ++queue.next_step;
    }
    progress = true;
  }
  // Out of the queue before the callback, which may destroy the queue itself.
  const std::shared_ptr<Submission> finished = std::move(queue.current);
  queue.current.reset();
  finished->completed(queue.fault, queue.start_time, now());
  return true;
}

// Runs consecutive programs as one region. After a fault the rest is skipped, but signals are still sent.
void Executor::run_programs(QueueState& queue) {
  const std::vector<Step>& steps = queue.current->steps;
  std::vector<const CpuProgram*> programs;
  for (; queue.next_step < steps.size() && steps[queue.next_step].kind == Step::Kind::run; ++queue.next_step) {
    programs.push_back(static_cast<const CpuProgram*>(steps[queue.next_step].program.get()));
    programs.back()->count_run();
  }
  if (!queue.fault.empty()) return;
  FaultSink faults;
  pool_.run(programs, faults);
  queue.fault = faults.message();
}

}  // namespace softmetal::cpu
