// The public functions of MTL::CommandBuffer and MTL::CommandEncoder.
#include "softmetal/api/blit_encoder.h"
#include "softmetal/api/command_buffer.h"
#include "softmetal/api/compute_encoder.h"
#include "softmetal/api/event.h"
#include "softmetal/validation/report.h"

namespace MTL {

using softmetal::fields;
using softmetal::impl;
namespace validation = softmetal::validation;

CFTimeInterval CommandBuffer::GPUStartTime() const { return impl(this)->start_time(); }
CFTimeInterval CommandBuffer::GPUEndTime() const { return impl(this)->end_time(); }
CFTimeInterval CommandBuffer::kernelStartTime() const { return impl(this)->start_time(); }
CFTimeInterval CommandBuffer::kernelEndTime() const { return impl(this)->end_time(); }

void CommandBuffer::addCompletedHandler(const MTL::HandlerFunction& function) {
  constexpr const char* call = "MTL::CommandBuffer::addCompletedHandler";
  if (!validation::alive(this, call)) return;
  if (!impl(this)->add_handler(function, true)) validation::report(call, "the command buffer is committed already");
}

void CommandBuffer::addScheduledHandler(const MTL::HandlerFunction& function) {
  constexpr const char* call = "MTL::CommandBuffer::addScheduledHandler";
  if (!validation::alive(this, call)) return;
  if (!impl(this)->add_handler(function, false)) validation::report(call, "the command buffer is committed already");
}

BlitCommandEncoder* CommandBuffer::blitCommandEncoder() {
  if (!impl(this)->can_record("MTL::CommandBuffer::blitCommandEncoder")) return nullptr;
  return softmetal::make_object<softmetal::BlitEncoderImpl>(impl(this))->autorelease();
}

CommandQueue* CommandBuffer::commandQueue() const { return impl(this)->queue(); }

void CommandBuffer::commit() {
  constexpr const char* call = "MTL::CommandBuffer::commit";
  if (impl(this)->can_record(call)) impl(this)->commit_now();
}

ComputeCommandEncoder* CommandBuffer::computeCommandEncoder() { return computeCommandEncoder(DispatchTypeSerial); }

ComputeCommandEncoder* CommandBuffer::computeCommandEncoder(MTL::DispatchType dispatchType) {
  if (!impl(this)->can_record("MTL::CommandBuffer::computeCommandEncoder")) return nullptr;
  return softmetal::make_object<softmetal::ComputeEncoderImpl>(impl(this), dispatchType)->autorelease();
}

Device* CommandBuffer::device() const { return impl(this)->queue()->device; }

namespace {

void encode_event(softmetal::CommandBufferImpl* buffer, const char* call, const Event* event, std::uint64_t value,
                  softmetal::Step::Kind kind) {
  if (!buffer->can_record(call)) return;
  if (!validation::alive(event, call, "event")) {
    buffer->reject(call, "event is null or released", CommandBufferErrorInvalidResource);
    return;
  }
  softmetal::Step step;
  step.kind = kind;
  step.event = fields(event).state;
  step.value = value;
  buffer->add_step(std::move(step));
}

}  // namespace

void CommandBuffer::encodeSignalEvent(const MTL::Event* event, std::uint64_t value) {
  encode_event(impl(this), "MTL::CommandBuffer::encodeSignalEvent", event, value, softmetal::Step::Kind::signal);
}

void CommandBuffer::encodeWait(const MTL::Event* event, std::uint64_t value) {
  encode_event(impl(this), "MTL::CommandBuffer::encodeWait", event, value, softmetal::Step::Kind::wait);
}

void CommandBuffer::enqueue() {
  constexpr const char* call = "MTL::CommandBuffer::enqueue";
  if (!validation::alive(this, call)) return;
  if (status() != CommandBufferStatusNotEnqueued) validation::report(call, "the command buffer is enqueued already");
  impl(this)->enqueue_once();
}

NS::Error* CommandBuffer::error() const { return impl(this)->get_error(); }
NS::String* CommandBuffer::label() const { return impl(this)->get_label(); }
bool CommandBuffer::retainedReferences() const { return impl(this)->retains_references(); }
void CommandBuffer::setLabel(const NS::String* label) { impl(this)->set_label(label); }
CommandBufferStatus CommandBuffer::status() const { return impl(this)->status(); }

void CommandBuffer::waitUntilCompleted() {
  constexpr const char* call = "MTL::CommandBuffer::waitUntilCompleted";
  if (!validation::alive(this, call)) return;
  if (!impl(this)->is_committed()) {
    validation::report(call, "the command buffer is not committed");
    return;
  }
  impl(this)->wait(true);
}

void CommandBuffer::waitUntilScheduled() {
  constexpr const char* call = "MTL::CommandBuffer::waitUntilScheduled";
  if (!validation::alive(this, call)) return;
  if (!impl(this)->is_committed()) {
    validation::report(call, "the command buffer is not committed");
    return;
  }
  impl(this)->wait(false);
}

Device* CommandEncoder::device() const { return fields(this).command_buffer->queue()->device; }

void CommandEncoder::endEncoding() {
  constexpr const char* call = "MTL::CommandEncoder::endEncoding";
  if (validation::alive(this, call) && fields(this).recording(this, call)) fields(this).end();
}

void CommandEncoder::insertDebugSignpost(const NS::String*) {}
NS::String* CommandEncoder::label() const { return fields(this).get_label(); }
void CommandEncoder::popDebugGroup() {}
void CommandEncoder::pushDebugGroup(const NS::String*) {}
void CommandEncoder::setLabel(const NS::String* label) { fields(this).set_label(label); }

}  // namespace MTL
