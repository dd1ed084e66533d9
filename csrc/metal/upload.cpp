// Two buffers take turns: one is filled by the host while the device copies the other.
#include "metal/upload.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "metal/autorelease.h"
#include "metal/error.h"

namespace fastgo::metal {
namespace {

constexpr std::size_t piece_size = std::size_t{16} << 20;
constexpr std::size_t copy_granularity = 4;  // Metal copies whole words on a Mac

std::size_t round_up(std::size_t size) { return (size + copy_granularity - 1) / copy_granularity * copy_granularity; }

// Counts the buffer's bytes as long as it lives.
std::shared_ptr<void> counted(std::shared_ptr<Telemetry> telemetry, std::size_t size) {
  telemetry->buffer_bytes += size;
  return {nullptr, [telemetry, size](void*) { telemetry->buffer_bytes -= size; }};
}

void read_piece(int file, std::size_t offset, std::size_t size, void* target, const std::string& label) {
  auto* bytes = static_cast<char*>(target);
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = pread(file, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw Error("can't read " + label + ": " + std::strerror(errno));
    if (count == 0) throw Error(label + " ends at " + std::to_string(offset + done) + " bytes: it was cut short");
    done += static_cast<std::size_t>(count);
  }
}

NS::SharedPtr<MTL::CommandBuffer> copy(MTL::CommandQueue* queue, MTL::Buffer* source, MTL::Buffer* target,
                                       std::size_t offset, std::size_t size) {
  const AutoreleaseScope scope;
  auto commands = NS::RetainPtr(queue->commandBuffer());
  MTL::BlitCommandEncoder* encoder = commands->blitCommandEncoder();
  encoder->copyFromBuffer(source, 0, target, offset, size);
  encoder->endEncoding();
  commands->commit();
  return commands;
}

void wait(MTL::CommandBuffer* commands, const std::string& label) {
  commands->waitUntilCompleted();
  if (commands->status() == MTL::CommandBufferStatusError) {
    throw Error("the device failed to take " + label + ": " + describe(commands->error()));
  }
}

// A buffer that the host fills, and the copy that last read it.
struct Stage {
  NS::SharedPtr<MTL::Buffer> buffer;
  NS::SharedPtr<MTL::CommandBuffer> commands;

  void finish(const std::string& label) {
    if (commands) wait(commands.get(), label);
    commands.reset();
  }
};

}  // namespace

std::shared_ptr<Buffer> upload(MTL::Device* device, MTL::CommandQueue* queue, int file, std::size_t size,
                               const std::string& label, std::shared_ptr<Telemetry> telemetry) {
  auto handle = NS::TransferPtr(device->newBuffer(round_up(size), MTL::ResourceStorageModePrivate));
  if (!handle) throw OutOfMemory("no room for the " + std::to_string(size) + " bytes of " + label + " on the device");
  handle->setLabel(ns_string(label));
  Stage stages[2];
  for (Stage& stage : stages) {
    const std::size_t length = round_up(std::min(size, piece_size));
    stage.buffer = NS::TransferPtr(device->newBuffer(length, MTL::ResourceStorageModeShared));
    if (!stage.buffer) throw OutOfMemory("no room for staging " + label);
  }
  std::size_t number = 0;
  for (std::size_t offset = 0; offset < size; offset += piece_size, number++) {
    const std::size_t length = std::min(piece_size, size - offset);
    Stage& stage = stages[number % 2];
    stage.finish(label);
    read_piece(file, offset, length, stage.buffer->contents(), label);
    stage.commands = copy(queue, stage.buffer.get(), handle.get(), offset, round_up(length));
  }
  for (Stage& stage : stages) stage.finish(label);
  return std::make_shared<Buffer>(std::move(handle), size, counted(std::move(telemetry), round_up(size)));
}

void upload(MTL::CommandQueue* queue, const Buffer& source, const Buffer& target) {
  wait(copy(queue, source.handle(), target.handle(), 0, round_up(source.size())).get(), "a program's arguments");
}

}  // namespace fastgo::metal
