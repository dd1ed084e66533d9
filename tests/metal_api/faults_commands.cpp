// Wrong recordings, each found by the validation layer.
#include "kernels.h"

using namespace metal_api;

namespace {

// An encoder with everything set for `line` over 16 floats.
struct Line : Encoding {
  explicit Line(MTL::DispatchType type = MTL::DispatchTypeSerial) : Encoding(type) {
    encoder->setComputePipelineState(state.get());
    encoder->setBuffer(args.get(), 0, 0);
    encoder->setBuffer(x.get(), 0, 1);
    encoder->setBuffer(y.get(), 0, 2);
  }

  void dispatch() const { encoder->dispatchThreads(along_x(16), along_x(16)); }

  NS::SharedPtr<MTL::ComputePipelineState> state = pipeline("line");
  NS::SharedPtr<MTL::Buffer> args = make_buffer(8), x = make_buffer(64), y = make_buffer(64);
};

void commit(const Encoding& encoding) {
  encoding.encoder->endEncoding();
  encoding.commands->commit();
  encoding.commands->waitUntilCompleted();
}

NS::SharedPtr<MTL::IndirectCommandBuffer> indirect_triple(const NS::SharedPtr<MTL::Buffer>& buffer,
                                                          const NS::SharedPtr<MTL::ComputePipelineState>& state) {
  auto commands = make_indirect(2);
  for (NS::UInteger i = 0; i < 2; ++i) {
    MTL::IndirectComputeCommand* command = commands->indirectComputeCommand(i);
    if (state) command->setComputePipelineState(state.get());
    if (buffer) command->setKernelBuffer(buffer.get(), 0, 0);
    command->concurrentDispatchThreads(along_x(4), along_x(4));
  }
  return commands;
}

}  // namespace

FAULT(no_pipeline, "dispatchThreads: no compute pipeline state is set") {
  Encoding().encoder->dispatchThreads(along_x(16), along_x(16));
}

FAULT(missing_binding, "dispatchThreads: nothing is bound to buffer 1 (\"x\" of kernel \"line\")") {
  const Line line;
  line.encoder->setBuffer(nullptr, 0, 1);
  line.dispatch();
}

FAULT(buffer_index_above_30, "setBuffer: index 31 is above 30") {
  const Line line;
  line.encoder->setBuffer(line.x.get(), 0, 31);
}

FAULT(bytes_above_4096, "setBytes: length 4097 is not between 1 and 4096") {
  const std::vector<char> bytes(4097);
  Encoding().encoder->setBytes(bytes.data(), bytes.size(), 0);
}

FAULT(offset_beyond_buffer, "setBuffer: offset 64 at index 1 is beyond buffer") {
  const Line line;
  line.encoder->setBuffer(line.x.get(), 64, 1);
}

FAULT(offset_without_buffer, "setBufferOffset: no buffer is bound at index 9") {
  Line().encoder->setBufferOffset(0, 9);
}

FAULT(offset_misaligned, "is bound at offset 2, no multiple of the 4 bytes that float is aligned to") {
  const Line line;
  line.encoder->setBuffer(line.x.get(), 2, 1);
  line.dispatch();
}

FAULT(reference_too_short, "buffer 0 (\"args\" of kernel \"line\") needs 8 bytes for a LineArgs but 4 are bound") {
  const Line line;
  line.encoder->setBuffer(line.args.get(), 4, 0);
  line.dispatch();
}

FAULT(threadgroup_memory_missing, "no length is set for threadgroup memory 0 (\"shared_values\" of kernel") {
  const Encoding encoding;
  const auto values = make_buffer(64);
  encoding.encoder->setComputePipelineState(pipeline("reverse_dynamic").get());
  encoding.encoder->setBuffer(values.get(), 0, 0);
  encoding.encoder->dispatchThreads(along_x(16), along_x(16));
}

FAULT(threadgroup_memory_above_limit, "setThreadgroupMemoryLength: length 32784 is above 32768") {
  Encoding().encoder->setThreadgroupMemoryLength(32784, 0);
}

FAULT(threadgroup_memory_misaligned, "setThreadgroupMemoryLength: length 17 is no multiple of 16") {
  Encoding().encoder->setThreadgroupMemoryLength(17, 0);
}

FAULT(threadgroup_memory_total, "kernel \"large_memory\" would use 40000 bytes of threadgroup memory") {
  const Encoding encoding;
  const auto values = make_buffer(64);
  encoding.encoder->setComputePipelineState(pipeline("large_memory").get());
  encoding.encoder->setBuffer(values.get(), 0, 0);
  encoding.encoder->setThreadgroupMemoryLength(16000, 0);
  encoding.encoder->dispatchThreads(along_x(16), along_x(16));
}

FAULT(broken_simdgroups, "threadsPerThreadgroup 48 x 1 x 1 leaves simdgroups incomplete") {
  const Line line;
  line.encoder->setComputePipelineState(pipeline("line", false, true).get());
  line.encoder->dispatchThreads(along_x(48), along_x(48));
}

FAULT(broken_last_simdgroup, "threadsPerThreadgroup 32 x 1 x 1 leaves simdgroups incomplete") {
  const Line line;
  line.encoder->setComputePipelineState(pipeline("line", false, true).get());
  line.encoder->dispatchThreads(along_x(16), along_x(32));
}

FAULT(too_many_threads, "threadsPerThreadgroup 64 x 32 x 1 is above the limit of 1024 of kernel \"line\"") {
  Line().encoder->dispatchThreads(along_x(16), MTL::Size(64, 32, 1));
}

FAULT(empty_grid, "dispatchThreadgroups: the grid 4 x 0 x 1 of kernel \"line\" is empty") {
  Line().encoder->dispatchThreadgroups(MTL::Size(4, 0, 1), along_x(16));
}

FAULT(overflowing_grid, "is too large") {
  Line().encoder->dispatchThreadgroups(along_x(NS::UInteger(1) << 40), along_x(16));
}

FAULT(copy_beyond_source, "copyFromBuffer: source: offset 32 + size 64 is beyond buffer") {
  const auto queue = make_queue();
  const auto a = make_buffer(64), b = make_buffer(256);
  queue->commandBuffer()->blitCommandEncoder()->copyFromBuffer(a.get(), 32, b.get(), 0, 64);
}

FAULT(copy_beyond_destination, "copyFromBuffer: destination: offset 250 + size 64 is beyond buffer") {
  const auto queue = make_queue();
  const auto a = make_buffer(64), b = make_buffer(256);
  queue->commandBuffer()->blitCommandEncoder()->copyFromBuffer(a.get(), 0, b.get(), 250, 64);
}

FAULT(copy_overlaps, "copyFromBuffer: source and destination overlap") {
  const auto queue = make_queue();
  const auto a = make_buffer(64);
  queue->commandBuffer()->blitCommandEncoder()->copyFromBuffer(a.get(), 0, a.get(), 16, 32);
}

FAULT(fill_beyond_buffer, "fillBuffer: range: offset 60 + size 8 is beyond buffer") {
  const auto queue = make_queue();
  const auto a = make_buffer(64);
  queue->commandBuffer()->blitCommandEncoder()->fillBuffer(a.get(), NS::Range::Make(60, 8), 0);
}

FAULT(missing_barrier_after_write, "in buffer \"middle\" reads what buffer 2 (\"y\" of kernel \"line\") writes") {
  const Line line(MTL::DispatchTypeConcurrent);
  line.y->setLabel(text("middle"));
  line.dispatch();
  const auto z = make_buffer(64);
  line.encoder->setBuffer(line.y.get(), 0, 1);
  line.encoder->setBuffer(z.get(), 0, 2);
  line.dispatch();
}

FAULT(missing_barrier_before_write, "writes what buffer 1 (\"x\" of kernel \"line\") reads with no barrier") {
  const Line line(MTL::DispatchTypeConcurrent);
  line.dispatch();
  line.encoder->setBuffer(line.y.get(), 0, 1);
  line.encoder->memoryBarrier(std::vector<const MTL::Resource*>{line.y.get()}.data(), 1);
  line.encoder->setBuffer(line.x.get(), 0, 2);
  line.dispatch();
}

FAULT(missing_indirect_barrier, "command 1: buffer 0 (\"values\" of kernel \"triple_plus_one\")") {
  const Encoding encoding;
  const auto buffer = make_buffer(64);
  const auto state = pipeline("triple_plus_one", true);
  const auto commands = indirect_triple(buffer, state);
  encoding.encoder->useResource(buffer.get(), MTL::ResourceUsageRead | MTL::ResourceUsageWrite);
  encoding.encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 2));
}

FAULT(indirect_without_pipeline, "executeCommandsInBuffer: command 0: no compute pipeline state is set") {
  const auto buffer = make_buffer(64);
  const auto commands = indirect_triple(buffer, {});
  Encoding().encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
}

FAULT(indirect_without_buffer, "command 0: nothing is bound to buffer 0 (\"values\" of kernel") {
  const auto state = pipeline("triple_plus_one", true);
  const auto commands = indirect_triple({}, state);
  Encoding().encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
}

FAULT(indirect_released_buffer, "executeCommandsInBuffer: a command's buffer is a released MTL::Buffer") {
  const auto state = pipeline("triple_plus_one", true);
  const auto commands = indirect_triple(make_buffer(64), state);
  Encoding().encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
}

FAULT(indirect_not_resident, "is not made resident by useResource or useHeap") {
  const auto buffer = make_buffer(64);
  const auto state = pipeline("triple_plus_one", true);
  const auto commands = indirect_triple(buffer, state);
  Encoding().encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
}

FAULT(indirect_range, "executionRange ends at 3, beyond the size 2") {
  const auto commands = make_indirect(2);
  Encoding().encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(1, 2));
}

FAULT(encoder_not_ended_at_commit, "commit: another encoder of the command buffer has not ended") {
  const Line line;
  line.dispatch();
  line.commands->commit();
}

FAULT(second_encoder, "blitCommandEncoder: another encoder of the command buffer has not ended") {
  Encoding().commands->blitCommandEncoder();
}

FAULT(encoder_dropped, "the encoder goes away without endEncoding") {
  const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
  make_queue()->commandBuffer()->computeCommandEncoder();
}

FAULT(encoding_after_end, "dispatchThreads: the encoder has ended") {
  const Line line;
  line.encoder->endEncoding();
  line.dispatch();
}

FAULT(committed_twice, "commit: the command buffer is committed already") {
  const Line line;
  commit(line);
  line.commands->commit();
}

FAULT(encoder_after_commit, "computeCommandEncoder: the command buffer is committed already") {
  const Line line;
  commit(line);
  line.commands->computeCommandEncoder();
}

FAULT(waiting_without_commit, "waitUntilCompleted: the command buffer is not committed") {
  make_queue()->commandBuffer()->waitUntilCompleted();
}

FAULT(late_handler, "addCompletedHandler: the command buffer is committed already") {
  const Line line;
  commit(line);
  line.commands->addCompletedHandler([](MTL::CommandBuffer*) {});
}

FAULT(null_event, "encodeWait: event is null") { make_queue()->commandBuffer()->encodeWait(nullptr, 1); }
