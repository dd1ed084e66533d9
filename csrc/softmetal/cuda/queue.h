// A queue over a CUDA stream: work goes into the stream in the caller's thread, a thread of the queue reports its end.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "softmetal/cuda/context.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

class StreamWorker;

// The queues of a device, to be woken when an event rises that one of them may wait for.
class QueueSet {
 public:
  void add(StreamWorker* worker);
  void remove(StreamWorker* worker);
  void wake();

 private:
  std::mutex mutex_;
  std::set<StreamWorker*> workers_;
};

// What a queue consists of. It outlives the queue's handle until its thread has ended, because the last command buffer
// to be completed may be what keeps the handle.
class StreamWorker {
 public:
  StreamWorker(std::shared_ptr<Context> context, std::shared_ptr<QueueSet> others);
  ~StreamWorker();

  void submit(std::shared_ptr<Submission> submission);
  void wake();
  void stop();
  void work();  // the thread's function; returns after stop()

 private:
  // A submission that is not in the stream as a whole yet.
  struct Waiting {
    std::shared_ptr<Submission> submission;
    std::string fault;
    std::size_t next_step = 0;
    EventHandle begin = nullptr;
    bool scheduled = false;
  };

  // A point in the stream, and what to do once the GPU has passed it: raise an event or report a submission's end.
  struct Point {
    EventHandle reached = nullptr;
    std::shared_ptr<EventState> event;
    std::uint64_t value = 0;
    std::shared_ptr<Submission> submission;
    EventHandle begin = nullptr;
    std::string fault;
  };

  void pass(Point point);
  void advance();
  bool advance_front();
  EventHandle mark();
  void reuse(EventHandle event);

  std::shared_ptr<Context> context_;
  std::shared_ptr<QueueSet> others_;
  StreamHandle stream_ = nullptr;
  std::string problem_;  // why the queue can't run anything
  std::mutex mutex_;     // for all that follows
  std::condition_variable changed_;
  std::deque<Waiting> waiting_;
  std::deque<Point> points_;
  std::vector<EventHandle> free_events_;
  bool woken_ = false;
  bool stopping_ = false;
};

class CudaQueue final : public Queue {
 public:
  CudaQueue(std::shared_ptr<Context> context, std::shared_ptr<QueueSet> others);
  ~CudaQueue() override;

  void submit(std::shared_ptr<Submission> submission) override { worker_->submit(std::move(submission)); }

 private:
  std::shared_ptr<StreamWorker> worker_;
  std::thread thread_;
};

}  // namespace softmetal::cuda
