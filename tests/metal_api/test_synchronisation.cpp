// Completion handlers, events, and queues that wait for each other.
#include <atomic>
#include <chrono>
#include <thread>

#include "kernels.h"

using namespace metal_api;

namespace {

MTL::CommandBuffer* triple(const NS::SharedPtr<MTL::CommandQueue>& queue, const NS::SharedPtr<MTL::Buffer>& values) {
  MTL::CommandBuffer* commands = queue->commandBuffer();
  MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
  encoder->setComputePipelineState(pipeline("triple_plus_one").get());
  encoder->setBuffer(values.get(), 0, 0);
  encoder->dispatchThreads(along_x(values->length() / 4), along_x(32));
  encoder->endEncoding();
  return commands;
}

}  // namespace

TEST(completion_handlers_run_before_waiting_ends) {
  const auto queue = make_queue();
  const auto values = buffer_of(counting(100));
  std::atomic<int> scheduled{0}, completed{0};
  std::thread::id thread;
  MTL::CommandBuffer* commands = triple(queue, values);
  commands->addScheduledHandler([&](MTL::CommandBuffer*) { ++scheduled; });
  commands->addCompletedHandler([&](MTL::CommandBuffer* buffer) {
    CHECK_EQUAL(buffer->status(), MTL::CommandBufferStatusCompleted);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    thread = std::this_thread::get_id();
    completed += static_cast<int>(values_of(values)[1]);
  });
  commands->commit();
  commands->waitUntilScheduled();
  CHECK_EQUAL(scheduled.load(), 1);
  commands->waitUntilCompleted();
  CHECK_EQUAL(completed.load(), 4);
  CHECK(thread != std::this_thread::get_id());
}

TEST(completion_handlers_run_in_order) {
  const auto queue = make_queue();
  const auto values = buffer_of(counting(100));
  std::vector<int> order;
  MTL::CommandBuffer* last = nullptr;
  for (int i = 0; i < 20; ++i) {
    last = triple(queue, values);
    last->addCompletedHandler([&order, i](MTL::CommandBuffer*) { order.push_back(i); });
    last->commit();
  }
  last->waitUntilCompleted();
  CHECK_EQUAL(order.size(), 20u);
  for (int i = 0; i < 20; ++i) CHECK_EQUAL(order[i], i);
}

TEST(handlers_may_commit_more_work) {
  const auto queue = make_queue();
  const auto values = buffer_of(std::vector<std::uint32_t>{1});
  const auto done = NS::TransferPtr(device()->newSharedEvent());
  MTL::CommandBuffer* first = triple(queue, values);
  first->addCompletedHandler([&](MTL::CommandBuffer*) {
    const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
    MTL::CommandBuffer* second = triple(queue, values);
    second->encodeSignalEvent(done.get(), 1);
    second->commit();
  });
  first->commit();
  CHECK(done->waitUntilSignaledValue(1, 10000));
  CHECK_EQUAL(values_of(values)[0], 13u);
}

TEST(events_order_queues) {
  const auto first = make_queue(), second = make_queue();
  const auto values = buffer_of(std::vector<std::uint32_t>{2});
  const auto event = NS::TransferPtr(device()->newEvent());
  // Committed first, but waits for the other queue.
  MTL::CommandBuffer* waiting = second->commandBuffer();
  waiting->encodeWait(event.get(), 3);
  MTL::ComputeCommandEncoder* encoder = waiting->computeCommandEncoder();
  const std::uint32_t amount = 100;
  encoder->setComputePipelineState(pipeline("add_in_place").get());
  encoder->setBuffer(values.get(), 0, 0);
  encoder->setBytes(&amount, 4, 1);
  encoder->dispatchThreadgroups(along_x(1), along_x(1));
  encoder->endEncoding();
  waiting->commit();
  MTL::CommandBuffer* signalling = triple(first, values);
  signalling->encodeSignalEvent(event.get(), 3);
  signalling->commit();
  waiting->waitUntilCompleted();
  CHECK_EQUAL(values_of(values)[0], 107u);
}

TEST(shared_events_connect_host_and_device) {
  const auto queue = make_queue();
  const auto values = buffer_of(std::vector<std::uint32_t>{1});
  const auto event = NS::TransferPtr(device()->newSharedEvent());
  MTL::CommandBuffer* waiting = queue->commandBuffer();
  waiting->encodeWait(event.get(), 5);
  waiting->commit();
  MTL::CommandBuffer* commands = triple(queue, values);
  commands->encodeSignalEvent(event.get(), 6);
  commands->commit();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK_EQUAL(values_of(values)[0], 1u);
  event->setSignaledValue(5);
  CHECK(event->waitUntilSignaledValue(6, 10000));
  CHECK_EQUAL(event->signaledValue(), 6u);
  CHECK_EQUAL(values_of(values)[0], 4u);
  CHECK(!event->waitUntilSignaledValue(7, 5));
}

TEST(queues_limit_unfinished_command_buffers) {
  const auto queue = NS::TransferPtr(device()->newCommandQueue(2));
  const auto event = NS::TransferPtr(device()->newSharedEvent());
  for (int i = 0; i < 2; ++i) {
    MTL::CommandBuffer* commands = queue->commandBuffer();
    commands->encodeWait(event.get(), 1);
    commands->commit();
  }
  std::atomic<bool> made{false};
  std::thread third([&] {
    const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
    MTL::CommandBuffer* commands = queue->commandBuffer();
    made = true;
    commands->commit();
    commands->waitUntilCompleted();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(!made);
  event->setSignaledValue(1);
  third.join();
}
