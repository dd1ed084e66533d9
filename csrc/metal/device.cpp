// Lists and opens devices; puts programs, copies and fills into command buffers.
#include "metal/device.h"

#include <algorithm>

#include "metal/autorelease.h"
#include "metal/error.h"
#include "metal/mapped_file.h"

namespace fastgo::metal {
namespace {

Capabilities describe_device(MTL::Device* device) {
  return {device->name()->utf8String(), device->hasUnifiedMemory(), device->recommendedMaxWorkingSetSize(),
          device->maxBufferLength(), device->maxThreadgroupMemoryLength()};
}

NS::SharedPtr<MTL::Device> open_device(std::size_t index) {
  const AutoreleaseScope scope;
  const auto devices = NS::TransferPtr(MTL::CopyAllDevices());
  if (!devices || index >= devices->count()) {
    throw Error("there is no device number " + std::to_string(index));
  }
  return NS::RetainPtr(devices->object<MTL::Device>(index));
}

}  // namespace

std::vector<Capabilities> list_devices() {
  const AutoreleaseScope scope;
  const auto devices = NS::TransferPtr(MTL::CopyAllDevices());
  std::vector<Capabilities> found;
  for (NS::UInteger i = 0; devices && i < devices->count(); i++) {
    found.push_back(describe_device(devices->object<MTL::Device>(i)));
  }
  return found;
}

Submission::~Submission() { commands_->waitUntilCompleted(); }

void Submission::wait() {
  commands_->waitUntilCompleted();
  kept_.clear();
  if (commands_->status() == MTL::CommandBufferStatusError) {
    const AutoreleaseScope scope;
    throw Error("the device failed: " + describe(commands_->error()));
  }
}

Device::Device(std::size_t index)
    : device_(open_device(index)),
      queue_(NS::TransferPtr(device_->newCommandQueue())),
      capabilities_(describe_device(device_.get())),
      pool_(std::make_shared<BufferPool>(device_, telemetry_)),
      pipelines_(device_.get(), telemetry_) {
  if (!queue_) throw Error("device " + capabilities_.name + " gives no command queue");
}

Device::~Device() { pool_->trim(); }

std::shared_ptr<Buffer> Device::allocate(std::size_t size, Storage storage, const std::string& label) {
  const AutoreleaseScope scope;
  return pool_->allocate(size, storage, label);
}

std::shared_ptr<Heap> Device::make_heap(std::size_t size, Storage storage, const std::string& label) {
  const AutoreleaseScope scope;
  return std::make_shared<Heap>(device_.get(), size, storage, label, telemetry_);
}

std::size_t Device::heap_alignment() const {
  return device_->heapBufferSizeAndAlign(1, MTL::ResourceStorageModeShared).align;
}

std::shared_ptr<Buffer> Device::map_file(const std::string& path) {
  const AutoreleaseScope scope;
  std::shared_ptr<Buffer> buffer = metal::map_file(device_.get(), queue_.get(), path, telemetry_);
  if (capabilities_.has_unified_memory) {
    std::lock_guard<std::mutex> lock(mapped_mutex_);
    mapped_.erase(std::remove_if(mapped_.begin(), mapped_.end(), [](const auto& file) { return file.expired(); }),
                  mapped_.end());
    mapped_.push_back(buffer);
  }
  return buffer;
}

std::uint64_t Device::mapped_bytes() const {
  std::lock_guard<std::mutex> lock(mapped_mutex_);
  std::uint64_t bytes = 0;
  for (const std::weak_ptr<Buffer>& file : mapped_) {
    if (const std::shared_ptr<Buffer> buffer = file.lock()) bytes += buffer->handle()->allocatedSize();
  }
  return bytes;
}

std::shared_ptr<Program> Device::make_program(ReplayMode mode, const std::string& label) {
  return std::make_shared<Program>(device_, queue_, pool_, mode, label);
}

template <typename Encode>
std::shared_ptr<Submission> Device::commit(std::vector<std::shared_ptr<const void>> kept, const Encode& encode) {
  const AutoreleaseScope scope;
  auto commands = NS::RetainPtr(queue_->commandBuffer());
  if (!commands) throw Error("device " + capabilities_.name + " gives no command buffer");
  encode(commands.get());
  commands->commit();
  telemetry_->command_buffers++;
  return std::make_shared<Submission>(std::move(commands), std::move(kept));
}

std::shared_ptr<Submission> Device::submit(const std::vector<std::shared_ptr<Program>>& programs) {
  for (const auto& program : programs) {
    if (!program->finished()) throw Error("program " + program->label() + " is not finished");
    telemetry_->dispatches += program->dispatch_count();
  }
  return commit({programs.begin(), programs.end()}, [&](MTL::CommandBuffer* commands) {
    MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    for (std::size_t i = 0; i < programs.size(); i++) {
      if (i != 0) encoder->memoryBarrier(MTL::BarrierScopeBuffers);
      programs[i]->encode(encoder);
    }
    encoder->endEncoding();
  });
}

std::shared_ptr<Submission> Device::copy(const Binding& source, const Binding& target, std::size_t size) {
  return commit({source.buffer, target.buffer}, [&](MTL::CommandBuffer* commands) {
    MTL::BlitCommandEncoder* encoder = commands->blitCommandEncoder();
    encoder->copyFromBuffer(source.buffer->handle(), source.offset, target.buffer->handle(), target.offset, size);
    encoder->endEncoding();
  });
}

std::shared_ptr<Submission> Device::fill(const Binding& target, std::size_t size, std::uint8_t value) {
  return commit({target.buffer}, [&](MTL::CommandBuffer* commands) {
    MTL::BlitCommandEncoder* encoder = commands->blitCommandEncoder();
    encoder->fillBuffer(target.buffer->handle(), NS::Range::Make(target.offset, size), value);
    encoder->endEncoding();
  });
}

}  // namespace fastgo::metal
