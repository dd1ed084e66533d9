// Copies and fills.
#include "softmetal/api/blit_encoder.h"

#include "softmetal/api/indirect_command_buffer.h"
#include "softmetal/api/resource.h"
#include "softmetal/validation/report.h"

namespace MTL {

using softmetal::BufferImpl;
using softmetal::Command;
using softmetal::impl;
namespace validation = softmetal::validation;

namespace {

// What is wrong with a range of a buffer, or "".
std::string range_problem(const char* name, const Buffer* buffer, NS::UInteger offset, NS::UInteger size) {
  const NS::UInteger length = buffer->length();
  if (offset <= length && size <= length - offset) return "";
  return std::string(name) + ": offset " + std::to_string(offset) + " + size " + std::to_string(size) +
         " is beyond buffer " + softmetal::describe(buffer) + " of " + std::to_string(length) + " bytes";
}

bool overlap(std::uint64_t a, std::uint64_t b, std::uint64_t size) { return a < b + size && b < a + size; }

// Whether the encoder may record and the buffer can be used; otherwise rejects the call.
bool usable(softmetal::BlitEncoderImpl* encoder, const char* call, const Resource* resource, const char* argument) {
  if (!encoder->recording(encoder, call)) return false;
  if (validation::alive(resource, call, argument)) return true;
  encoder->command_buffer->reject(call, std::string(argument) + " is null or released",
                                  CommandBufferErrorInvalidResource);
  return false;
}

}  // namespace

void BlitCommandEncoder::copyFromBuffer(const MTL::Buffer* sourceBuffer, NS::UInteger sourceOffset,
                                        const MTL::Buffer* destinationBuffer, NS::UInteger destinationOffset,
                                        NS::UInteger size) {
  constexpr const char* call = "MTL::BlitCommandEncoder::copyFromBuffer";
  softmetal::BlitEncoderImpl* encoder = impl(this);
  if (!usable(encoder, call, sourceBuffer, "sourceBuffer")) return;
  if (!usable(encoder, call, destinationBuffer, "destinationBuffer")) return;
  std::string problem = range_problem("source", sourceBuffer, sourceOffset, size);
  if (problem.empty()) problem = range_problem("destination", destinationBuffer, destinationOffset, size);
  Command command;
  command.kind = Command::Kind::copy;
  command.barrier = true;
  command.source = impl(sourceBuffer)->memory.address + sourceOffset;
  command.destination = impl(destinationBuffer)->memory.address + destinationOffset;
  command.length = size;
  if (problem.empty() && overlap(command.source, command.destination, size)) {
    problem = "source and destination overlap in buffer " + softmetal::describe(destinationBuffer);
  }
  if (!problem.empty()) {
    encoder->command_buffer->reject(call, problem, CommandBufferErrorInvalidResource);
    return;
  }
  encoder->command_buffer->keep_alive(sourceBuffer);
  encoder->command_buffer->keep_alive(destinationBuffer);
  if (size > 0) encoder->command_buffer->add(command);
}

void BlitCommandEncoder::fillBuffer(const MTL::Buffer* buffer, NS::Range range, std::uint8_t value) {
  constexpr const char* call = "MTL::BlitCommandEncoder::fillBuffer";
  softmetal::BlitEncoderImpl* encoder = impl(this);
  if (!usable(encoder, call, buffer, "buffer")) return;
  const std::string problem = range_problem("range", buffer, range.location, range.length);
  if (!problem.empty()) {
    encoder->command_buffer->reject(call, problem, CommandBufferErrorInvalidResource);
    return;
  }
  Command command;
  command.kind = Command::Kind::fill;
  command.barrier = true;
  command.destination = impl(buffer)->memory.address + range.location;
  command.length = range.length;
  command.value = value;
  encoder->command_buffer->keep_alive(buffer);
  if (range.length > 0) encoder->command_buffer->add(command);
}

void BlitCommandEncoder::optimizeIndirectCommandBuffer(const MTL::IndirectCommandBuffer* indirectCommandBuffer,
                                                       NS::Range) {
  usable(impl(this), "MTL::BlitCommandEncoder::optimizeIndirectCommandBuffer", indirectCommandBuffer,
         "indirectCommandBuffer");
}

void BlitCommandEncoder::resetCommandsInBuffer(const MTL::IndirectCommandBuffer*, NS::Range) {
  validation::report_unimplemented("MTL::BlitCommandEncoder::resetCommandsInBuffer",
                                   "use MTL::IndirectCommandBuffer::reset");
}

void BlitCommandEncoder::synchronizeResource(const MTL::Resource* resource) {
  usable(impl(this), "MTL::BlitCommandEncoder::synchronizeResource", resource, "resource");
}

void BlitCommandEncoder::updateFence(const MTL::Fence* fence) {
  validation::alive(fence, "MTL::BlitCommandEncoder::updateFence", "fence");
}

void BlitCommandEncoder::waitForFence(const MTL::Fence* fence) {
  validation::alive(fence, "MTL::BlitCommandEncoder::waitForFence", "fence");
}

}  // namespace MTL
