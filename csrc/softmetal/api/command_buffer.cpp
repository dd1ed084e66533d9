// Recording, submission and completion of command buffers.
#include "softmetal/api/command_buffer.h"

#include <algorithm>
#include <utility>

#include "softmetal/foundation/values.h"
#include "softmetal/validation/report.h"

namespace softmetal {
namespace {

constexpr const char* error_domain = "MTLCommandBufferErrorDomain";

class SubmissionImpl final : public Submission {
 public:
  explicit SubmissionImpl(CommandBufferImpl* buffer) : buffer_(NS::RetainPtr(buffer)) {}

  void scheduled() override { buffer_->was_scheduled(); }

  void completed(const std::string& fault, double start_time, double end_time) override {
    const NS::SharedPtr<CommandBufferImpl> buffer = std::move(buffer_);
    buffer->was_completed(fault, start_time, end_time);
  }

 private:
  NS::SharedPtr<CommandBufferImpl> buffer_;
};

}  // namespace

EncoderFields::EncoderFields(CommandBufferImpl* buffer) : command_buffer(NS::RetainPtr(buffer)) {
  buffer->open_encoder = this;
}

EncoderFields::~EncoderFields() {
  if (ended) return;
  command_buffer->reject("MTL::CommandEncoder::release", "the encoder goes away without endEncoding",
                         MTL::CommandBufferErrorInternal);
  end();
}

bool EncoderFields::recording(const ObjectBase* encoder, const char* call) const {
  if (!validation::alive(encoder, call)) return false;
  if (ended) validation::report(call, "the encoder has ended");
  return !ended;
}

void EncoderFields::end() {
  ended = true;
  if (command_buffer->open_encoder == this) command_buffer->open_encoder = nullptr;
}

EncoderFields& fields(const MTL::CommandEncoder* encoder) {
  return *dynamic_cast<EncoderFields*>(const_cast<MTL::CommandEncoder*>(encoder));
}

CommandBufferImpl::CommandBufferImpl(CommandQueueImpl* buffer_queue, bool retains_references)
    : queue_(NS::RetainPtr(buffer_queue)),
      retains_references_(retains_references),
      bytes_(buffer_queue->device->bytes_pool) {}

CommandBufferImpl::~CommandBufferImpl() {
  release_references();
  if (is_committed()) return;
  queue_->abandon(this);
  queue_->free_place();
}

bool CommandBufferImpl::can_record(const char* call) {
  if (!validation::alive(this, call)) return false;
  if (is_committed()) {
    validation::report(call, "the command buffer is committed already");
    return false;
  }
  if (open_encoder) {
    reject(call, "another encoder of the command buffer has not ended", MTL::CommandBufferErrorInternal);
    open_encoder->end();
  }
  return true;
}

void CommandBufferImpl::reject(const char* call, const std::string& problem, MTL::CommandBufferError code) {
  validation::report(call, problem);
  if (!failure_.empty()) return;
  failure_ = std::string(call) + ": " + problem;
  failure_code_ = code;
}

void CommandBufferImpl::flush_commands() {
  if (commands_.empty()) return;
  Step step;
  step.program = queue_->device->driver->make_program(commands_, false);
  steps_.push_back(std::move(step));
  commands_.clear();
}

void CommandBufferImpl::add_step(Step step) {
  flush_commands();
  steps_.push_back(std::move(step));
}

void CommandBufferImpl::keep_alive(const ObjectBase* object) {
  if (!retains_references_) return;
  if (!references_.empty() && references_.back() == object) return;
  softmetal::retain(object);
  references_.push_back(object);
}

void CommandBufferImpl::release_references() {
  for (const ObjectBase* object : references_) softmetal::release(object);
  references_.clear();
}

void CommandBufferImpl::enqueue_once() {
  if (enqueued_) return;
  enqueued_ = true;
  status_ = MTL::CommandBufferStatusEnqueued;
  queue_->enqueue(this);
}

void CommandBufferImpl::commit_now() {
  enqueue_once();
  flush_commands();
  if (!failure_.empty()) {
    // Nothing of it runs, but whoever waits for its events must not wait for ever.
    const auto runs = [](const Step& step) { return step.kind == Step::Kind::run; };
    steps_.erase(std::remove_if(steps_.begin(), steps_.end(), runs), steps_.end());
  }
  // The submission keeps this alive from here on; until it is taken, the queue's list must not be left without it.
  retain();
  status_ = MTL::CommandBufferStatusCommitted;
  queue_->submit_committed();
}

std::shared_ptr<Submission> CommandBufferImpl::take_submission() {
  auto submission = std::make_shared<SubmissionImpl>(this);
  submission->steps = std::move(steps_);
  release();  // commit_now's reference: the submission has its own
  return submission;
}

void CommandBufferImpl::run_handlers(std::vector<MTL::HandlerFunction>& handlers) {
  for (const MTL::HandlerFunction& handler : handlers) handler(this);
  handlers.clear();
}

void CommandBufferImpl::was_scheduled() {
  status_ = MTL::CommandBufferStatusScheduled;
  const auto tell = [this] {
    run_handlers(scheduled_handlers_);
    std::lock_guard<std::mutex> lock(mutex_);
    scheduled_ = true;
    changed_.notify_all();
  };
  if (scheduled_handlers_.empty()) {
    tell();
  } else {
    queue_->device->completion.post([tell, self = NS::RetainPtr(this)] { tell(); });
  }
}

void CommandBufferImpl::was_completed(const std::string& fault, double start_time, double end_time) {
  start_time_ = start_time;
  end_time_ = end_time;
  CompletionThread& completion = queue_->device->completion;
  if (completed_handlers_.empty() && completion.is_idle()) {
    finish(fault);
  } else {
    completion.post([fault, self = NS::RetainPtr(this)] { self->finish(fault); });
  }
}

// Handlers see the final status; whoever waits goes on after them.
void CommandBufferImpl::finish(const std::string& fault) {
  if (!failure_.empty()) {
    error_ = make_error(error_domain, failure_code_, failure_);
  } else if (!fault.empty()) {
    error_ = make_error(error_domain, MTL::CommandBufferErrorPageFault, fault);
  }
  release_references();
  bytes_.clear();
  status_ = error_ ? MTL::CommandBufferStatusError : MTL::CommandBufferStatusCompleted;
  run_handlers(completed_handlers_);
  queue_->free_place();
  std::lock_guard<std::mutex> lock(mutex_);
  completed_ = true;
  changed_.notify_all();
}

bool CommandBufferImpl::add_handler(const MTL::HandlerFunction& handler, bool completed) {
  if (is_committed()) return false;
  (completed ? completed_handlers_ : scheduled_handlers_).push_back(handler);
  return true;
}

void CommandBufferImpl::wait(bool until_completed) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [&] { return until_completed ? completed_ : scheduled_; });
}

NS::Error* CommandBufferImpl::get_error() const {
  return status() >= MTL::CommandBufferStatusCompleted ? error_.get() : nullptr;
}

}  // namespace softmetal
