// Touches each part of Metal that the engine relies on, so that the macOS check is known to accept sound code: device,
// placement heap, run-time library, function constants, indirect commands, completion handlers, events.
#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <atomic>

namespace {

NS::String* text(const char* value) { return NS::String::string(value, NS::UTF8StringEncoding); }

NS::SharedPtr<MTL::ComputePipelineState> make_pipeline(MTL::Device* device, const char* source) {
  NS::Error* error = nullptr;
  auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  auto library = NS::TransferPtr(device->newLibrary(text(source), options.get(), &error));
  auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  const bool causal = true;
  constants->setConstantValue(&causal, MTL::DataTypeBool, NS::UInteger(0));
  auto function = NS::TransferPtr(library->newFunction(text("attention"), constants.get(), &error));
  auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
  descriptor->setComputeFunction(function.get());
  descriptor->setSupportIndirectCommandBuffers(true);
  return NS::TransferPtr(device->newComputePipelineState(descriptor.get(), MTL::PipelineOptionNone, nullptr, &error));
}

NS::SharedPtr<MTL::Heap> make_heap(MTL::Device* device) {
  auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
  descriptor->setType(MTL::HeapTypePlacement);
  descriptor->setStorageMode(MTL::StorageModePrivate);
  descriptor->setSize(1 << 20);
  return NS::TransferPtr(device->newHeap(descriptor.get()));
}

NS::SharedPtr<MTL::IndirectCommandBuffer> record(MTL::Device* device, MTL::ComputePipelineState* pipeline,
                                                 MTL::Buffer* buffer) {
  auto descriptor = NS::TransferPtr(MTL::IndirectCommandBufferDescriptor::alloc()->init());
  descriptor->setCommandTypes(MTL::IndirectCommandTypeConcurrentDispatch);
  descriptor->setInheritBuffers(false);
  descriptor->setInheritPipelineState(false);
  descriptor->setMaxKernelBufferBindCount(31);
  auto program = NS::TransferPtr(device->newIndirectCommandBuffer(descriptor.get(), 1, MTL::ResourceStorageModeShared));
  auto* command = program->indirectComputeCommand(0);
  command->setComputePipelineState(pipeline);
  command->setKernelBuffer(buffer, 0, 0);
  command->concurrentDispatchThreadgroups(MTL::Size::Make(1, 1, 1), MTL::Size::Make(32, 1, 1));
  command->setBarrier();
  return program;
}

}  // namespace

// Returns the status of the command buffer that replayed the program.
int uses_metal(const char* source) {
  auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
  auto device = NS::TransferPtr(MTL::CreateSystemDefaultDevice());
  auto pipeline = make_pipeline(device.get(), source);
  auto heap = make_heap(device.get());
  auto buffer = NS::TransferPtr(heap->newBuffer(256, MTL::ResourceStorageModePrivate, 0));
  auto program = record(device.get(), pipeline.get(), buffer.get());
  auto queue = NS::TransferPtr(device->newCommandQueue());
  auto event = NS::TransferPtr(device->newSharedEvent());

  MTL::CommandBuffer* commands = queue->commandBuffer();
  auto* encoder = commands->computeCommandEncoder(MTL::DispatchTypeConcurrent);
  encoder->useHeap(heap.get());
  encoder->executeCommandsInBuffer(program.get(), NS::Range::Make(0, 1));
  encoder->memoryBarrier(MTL::BarrierScopeBuffers);
  encoder->endEncoding();
  commands->encodeSignalEvent(event.get(), 1);
  std::atomic<int> status{0};
  commands->addCompletedHandler([&](MTL::CommandBuffer* done) { status = static_cast<int>(done->status()); });
  commands->commit();
  commands->waitUntilCompleted();
  return status;
}
