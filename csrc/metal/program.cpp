// Checks of dispatches, one buffer for all their argument structs, and the two ways to replay them.
#include "metal/program.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "metal/autorelease.h"
#include "metal/error.h"
#include "metal/upload.h"

namespace fastgo::metal {
namespace {

// Metal wants offsets into `constant` memory to be multiples of 256 on some Macs.
constexpr std::size_t argument_alignment = 256;
constexpr std::size_t max_bindings = 31;

const ArgumentReflection* argument_at(const KernelReflection& kernel, std::size_t index) {
  for (std::uint32_t a = 0; a < kernel.argument_count; a++) {
    const ArgumentReflection& argument = kernel.arguments[a];
    if (argument.kind == ArgumentKind::buffer && argument.index == index) return &argument;
  }
  return nullptr;
}

void check(const Dispatch& dispatch) {
  const KernelReflection& kernel = *dispatch.pipeline->reflection;
  const std::string name = kernel.name;
  if (dispatch.bindings.size() > max_bindings) throw Error("kernel " + name + " is given too many buffers");
  const NS::UInteger threads = dispatch.threads.width * dispatch.threads.height * dispatch.threads.depth;
  const MTL::ComputePipelineState& state = *dispatch.pipeline->state.get();
  // Pipelines promise that threadgroups are made of whole simdgroups.
  const bool is_whole = threads % state.threadExecutionWidth() == 0;
  if (threads == 0 || !is_whole || threads > state.maxTotalThreadsPerThreadgroup()) {
    throw Error("kernel " + name + " can't run " + std::to_string(threads) + " threads a threadgroup");
  }
  if (dispatch.grid.width * dispatch.grid.height * dispatch.grid.depth == 0) {
    throw Error("kernel " + name + " is given an empty grid");
  }
  const ArgumentReflection* arguments = argument_at(kernel, 0);
  if (arguments == nullptr || arguments->pointee_size != dispatch.arguments.size()) {
    throw Error("kernel " + name + " is given an argument struct of " + std::to_string(dispatch.arguments.size()) +
                " bytes, expected " + std::to_string(arguments == nullptr ? 0 : arguments->pointee_size));
  }
  for (std::size_t i = 1; i < dispatch.bindings.size(); i++) {
    const Binding& binding = dispatch.bindings[i];
    if (binding.buffer && binding.offset >= binding.buffer->size()) {
      throw Error("kernel " + name + " is given an offset beyond the buffer at index " + std::to_string(i));
    }
  }
}

}  // namespace

Program::Program(NS::SharedPtr<MTL::Device> device, NS::SharedPtr<MTL::CommandQueue> queue,
                 std::shared_ptr<BufferPool> pool, ReplayMode mode, std::string label)
    : device_(std::move(device)),
      queue_(std::move(queue)),
      pool_(std::move(pool)),
      mode_(mode),
      label_(std::move(label)) {}

void Program::dispatch(Dispatch dispatch) {
  if (finished_) throw Error("program " + label_ + " is finished and takes no more dispatches");
  check(dispatch);
  dispatch.barrier_before = pending_barrier_ && !dispatches_.empty();
  if (dispatches_.empty() || dispatch.barrier_before) stages_++;
  pending_barrier_ = false;
  dispatches_.push_back(std::move(dispatch));
}

void Program::finish() {
  const AutoreleaseScope scope;
  if (finished_) throw Error("program " + label_ + " is finished already");
  if (dispatches_.empty()) throw Error("program " + label_ + " has no dispatches");
  write_arguments();
  collect_resources();
  if (mode_ == ReplayMode::indirect) build_indirect();
  finished_ = true;
}

void Program::write_arguments() {
  std::size_t total = 0;
  for (const Dispatch& dispatch : dispatches_) {
    argument_offsets_.push_back(total);
    total += (dispatch.arguments.size() + argument_alignment - 1) / argument_alignment * argument_alignment;
  }
  arguments_ = pool_->allocate(total, Storage::shared, label_ + " arguments");
  auto* bytes = static_cast<unsigned char*>(arguments_->contents());
  for (std::size_t i = 0; i < dispatches_.size(); i++) {
    std::memcpy(bytes + argument_offsets_[i], dispatches_[i].arguments.data(), dispatches_[i].arguments.size());
  }
  if (device_->hasUnifiedMemory()) return;
  // Every kernel starts by reading its arguments: they must not lie on the far side of a bus.
  const std::shared_ptr<Buffer> staging = std::move(arguments_);
  arguments_ = pool_->allocate(total, Storage::device, label_ + " arguments");
  upload(queue_.get(), *staging, *arguments_);
}

void Program::collect_resources() {
  std::set<const MTL::Resource*> seen = {arguments_->handle()};
  for (const Dispatch& dispatch : dispatches_) {
    for (const Binding& binding : dispatch.bindings) {
      if (binding.buffer) seen.insert(binding.buffer->handle());
    }
  }
  resources_.assign(seen.begin(), seen.end());
}

void Program::build_indirect() {
  std::size_t bindings = 1;
  for (const Dispatch& dispatch : dispatches_) bindings = std::max(bindings, dispatch.bindings.size());
  const auto descriptor = NS::TransferPtr(MTL::IndirectCommandBufferDescriptor::alloc()->init());
  descriptor->setCommandTypes(MTL::IndirectCommandTypeConcurrentDispatch);
  descriptor->setInheritBuffers(false);
  descriptor->setInheritPipelineState(false);
  descriptor->setMaxKernelBufferBindCount(bindings);
  commands_ = NS::TransferPtr(
      device_->newIndirectCommandBuffer(descriptor.get(), dispatches_.size(), MTL::ResourceStorageModeShared));
  if (!commands_) throw Error("the device can't make an indirect command buffer for program " + label_);
  for (std::size_t i = 0; i < dispatches_.size(); i++) {
    const Dispatch& dispatch = dispatches_[i];
    MTL::IndirectComputeCommand* command = commands_->indirectComputeCommand(i);
    command->setComputePipelineState(dispatch.pipeline->state.get());
    command->setKernelBuffer(arguments_->handle(), argument_offsets_[i], 0);
    for (std::size_t b = 1; b < dispatch.bindings.size(); b++) {
      const Binding& binding = dispatch.bindings[b];
      if (binding.buffer) command->setKernelBuffer(binding.buffer->handle(), binding.offset, b);
    }
    if (dispatch.barrier_before) command->setBarrier();
    command->concurrentDispatchThreadgroups(dispatch.grid, dispatch.threads);
  }
}

void Program::encode(MTL::ComputeCommandEncoder* encoder) const {
  if (commands_) {
    for (const MTL::Resource* resource : resources_) {
      encoder->useResource(resource, MTL::ResourceUsageRead | MTL::ResourceUsageWrite);
    }
    encoder->executeCommandsInBuffer(commands_.get(), NS::Range::Make(0, dispatches_.size()));
    return;
  }
  for (std::size_t i = 0; i < dispatches_.size(); i++) {
    const Dispatch& dispatch = dispatches_[i];
    if (dispatch.barrier_before) encoder->memoryBarrier(MTL::BarrierScopeBuffers);
    encoder->setComputePipelineState(dispatch.pipeline->state.get());
    encoder->setBuffer(arguments_->handle(), argument_offsets_[i], 0);
    for (std::size_t b = 1; b < dispatch.bindings.size(); b++) {
      const Binding& binding = dispatch.bindings[b];
      encoder->setBuffer(binding.buffer ? binding.buffer->handle() : nullptr, binding.offset, b);
    }
    encoder->dispatchThreadgroups(dispatch.grid, dispatch.threads);
  }
}

}  // namespace fastgo::metal
