// Feeds a stream and follows it.
#include "softmetal/cuda/queue.h"

#include <chrono>

#include "softmetal/cuda/program.h"

namespace softmetal::cuda {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

void QueueSet::add(StreamWorker* worker) {
  std::lock_guard<std::mutex> lock(mutex_);
  workers_.insert(worker);
}

void QueueSet::remove(StreamWorker* worker) {
  std::lock_guard<std::mutex> lock(mutex_);
  workers_.erase(worker);
}

void QueueSet::wake() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (StreamWorker* worker : workers_) worker->wake();
}

CudaQueue::CudaQueue(std::shared_ptr<Context> context, std::shared_ptr<QueueSet> others)
    : worker_(std::make_shared<StreamWorker>(std::move(context), std::move(others))),
      thread_([worker = worker_] { worker->work(); }) {}

CudaQueue::~CudaQueue() {
  worker_->stop();
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

StreamWorker::StreamWorker(std::shared_ptr<Context> context, std::shared_ptr<QueueSet> others)
    : context_(std::move(context)), others_(std::move(others)), problem_(context_->enter()) {
  if (problem_.empty()) {
    const Result result = context_->cuda().StreamCreate(&stream_, stream_non_blocking);
    if (result != success) problem_ = "the GPU gives no stream: " + context_->cuda().describe(result);
  }
  others_->add(this);
}

StreamWorker::~StreamWorker() {
  others_->remove(this);
  if (!context_->enter().empty()) return;
  for (EventHandle event : free_events_) context_->cuda().EventDestroy(event);
  if (stream_) context_->cuda().StreamDestroy(stream_);
}

void StreamWorker::stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
}

void StreamWorker::submit(std::shared_ptr<Submission> submission) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Waiting waiting;
    waiting.submission = std::move(submission);
    waiting.fault = problem_.empty() ? context_->enter() : problem_;
    waiting_.push_back(std::move(waiting));
    advance();
  }
  changed_.notify_one();
}

void StreamWorker::wake() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

void StreamWorker::work() {
  context_->enter();
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || woken_ || !points_.empty(); });
    if (woken_) {
      woken_ = false;
      advance();
    }
    if (points_.empty()) {
      if (stopping_) return;
      continue;
    }
    Point point = std::move(points_.front());
    points_.pop_front();
    lock.unlock();
    pass(std::move(point));
    lock.lock();
  }
}

// Waits until the GPU reaches the point. Events are raised even after a fault, so that nobody waits for ever.
void StreamWorker::pass(Point point) {
  const Cuda& cuda = context_->cuda();
  if (point.reached) {
    const Result result = cuda.EventSynchronize(point.reached);
    if (result != success && point.fault.empty()) point.fault = "the GPU failed: " + cuda.describe(result);
  }
  const double end = now();
  float milliseconds = 0.0f;
  if (point.submission && point.reached && point.begin) {
    cuda.EventElapsedTime(&milliseconds, point.begin, point.reached);
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    reuse(point.reached);
    reuse(point.begin);
  }
  if (point.event) {
    point.event->raise(point.value);
    others_->wake();
  }
  if (point.submission) point.submission->completed(point.fault, end - milliseconds * 1e-3, end);
}

// Puts as much work into the stream as does not wait for an event. With the lock held.
void StreamWorker::advance() {
  while (!waiting_.empty() && advance_front()) waiting_.pop_front();
}

// Whether the first submission is in the stream as a whole.
bool StreamWorker::advance_front() {
  Waiting& front = waiting_.front();
  const std::vector<Step>& steps = front.submission->steps;
  if (!front.scheduled) {
    front.scheduled = true;
    front.submission->scheduled();
    front.begin = mark();
  }
  for (; front.next_step < steps.size(); front.next_step++) {
    const Step& step = steps[front.next_step];
    if (step.kind == Step::Kind::wait) {
      if (step.event->value() < step.value) return false;
    } else if (step.kind == Step::Kind::signal) {
      Point point;
      point.reached = mark();
      point.event = step.event;
      point.value = step.value;
      points_.push_back(std::move(point));
    } else if (front.fault.empty()) {
      front.fault = static_cast<const CudaProgram&>(*step.program).enqueue(stream_);
    }
  }
  Point end;
  end.reached = mark();
  if (!end.reached && front.fault.empty()) front.fault = "the GPU failed: its stream takes no more work";
  end.submission = std::move(front.submission);
  end.begin = front.begin;
  end.fault = std::move(front.fault);
  points_.push_back(std::move(end));
  return true;
}

// An event at the stream's present end; null if the stream is broken.
EventHandle StreamWorker::mark() {
  if (!stream_) return nullptr;
  EventHandle event = nullptr;
  if (!free_events_.empty()) {
    event = free_events_.back();
    free_events_.pop_back();
  } else if (context_->cuda().EventCreate(&event, 0) != success) {
    return nullptr;
  }
  if (context_->cuda().EventRecord(event, stream_) != success) {
    reuse(event);
    return nullptr;
  }
  return event;
}

void StreamWorker::reuse(EventHandle event) {
  if (event) free_events_.push_back(event);
}

}  // namespace softmetal::cuda
