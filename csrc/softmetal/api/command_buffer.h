// The class behind MTL::CommandBuffer: a recording, then a submission, then a result.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "softmetal/api/bytes_arena.h"
#include "softmetal/api/command_queue.h"
#include "softmetal/driver.h"

namespace softmetal {

class CommandBufferImpl;

// Beside MTL::CommandEncoder in every encoder class. An encoder keeps its command buffer alive until it ends.
class EncoderFields : public Labelled {
 public:
  explicit EncoderFields(CommandBufferImpl* buffer);
  ~EncoderFields();

  // Whether recording is still possible; reports if it is not.
  bool recording(const ObjectBase* encoder, const char* call) const;
  void end();

  NS::SharedPtr<CommandBufferImpl> command_buffer;
  bool ended = false;
};

EncoderFields& fields(const MTL::CommandEncoder* encoder);

class CommandBufferImpl final : public MTL::CommandBuffer, public Labelled {
 public:
  CommandBufferImpl(CommandQueueImpl* buffer_queue, bool retains_references);
  ~CommandBufferImpl() override;
  const char* class_name() const override { return "MTL::CommandBuffer"; }

  // Recording. A rejected command is reported, and makes the whole command buffer end with an error.
  bool can_record(const char* call);
  void reject(const char* call, const std::string& problem, MTL::CommandBufferError code);
  void add(const Command& command) { commands_.push_back(command); }
  void add_step(Step step);  // after the commands so far
  void keep_alive(const ObjectBase* object);
  BytesArena& bytes() { return bytes_; }
  EncoderFields* open_encoder = nullptr;

  // Execution.
  void enqueue_once();
  void commit_now();
  bool is_committed() const { return status_.load() >= MTL::CommandBufferStatusCommitted; }
  std::shared_ptr<Submission> take_submission();
  void was_scheduled();
  void was_completed(const std::string& fault, double start_time, double end_time);
  bool add_handler(const MTL::HandlerFunction& handler, bool completed);
  void wait(bool until_completed);

  // Results.
  MTL::CommandBufferStatus status() const { return status_.load(); }
  NS::Error* get_error() const;
  double start_time() const { return start_time_; }
  double end_time() const { return end_time_; }

  CommandQueueImpl* queue() const { return queue_.get(); }
  bool retains_references() const { return retains_references_; }

 private:
  void flush_commands();
  void finish(const std::string& fault);
  void run_handlers(std::vector<MTL::HandlerFunction>& handlers);
  void release_references();

  NS::SharedPtr<CommandQueueImpl> queue_;
  const bool retains_references_;
  BytesArena bytes_;
  std::vector<const ObjectBase*> references_;
  std::vector<Command> commands_;
  std::vector<Step> steps_;
  std::string failure_;  // the first rejected command
  MTL::CommandBufferError failure_code_ = MTL::CommandBufferErrorNone;
  bool enqueued_ = false;

  std::atomic<MTL::CommandBufferStatus> status_{MTL::CommandBufferStatusNotEnqueued};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool scheduled_ = false;  // and the handlers for that have run
  bool completed_ = false;
  std::vector<MTL::HandlerFunction> scheduled_handlers_;
  std::vector<MTL::HandlerFunction> completed_handlers_;
  NS::SharedPtr<NS::Error> error_;
  double start_time_ = 0;
  double end_time_ = 0;
};

inline CommandBufferImpl* impl(const MTL::CommandBuffer* buffer) {
  return static_cast<CommandBufferImpl*>(const_cast<MTL::CommandBuffer*>(buffer));
}

}  // namespace softmetal
