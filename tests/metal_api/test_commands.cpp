// Order: in an encoder, between encoders, between command buffers; and copies.
#include <thread>

#include "kernels.h"

using namespace metal_api;

namespace {

void encode_in_place(MTL::ComputeCommandEncoder* encoder, const MTL::ComputePipelineState* kernel,
                     const NS::SharedPtr<MTL::Buffer>& values) {
  encoder->setComputePipelineState(kernel);
  encoder->setBuffer(values.get(), 0, 0);
  encoder->dispatchThreads(along_x(values->length() / 4), along_x(32));
}

// ((v * 3 + 1) + amount), repeated: wrong if any two steps are swapped or lost.
std::uint32_t expected_after(std::uint32_t value, unsigned steps, std::uint32_t amount) {
  for (unsigned i = 0; i < steps; ++i) value = value * 3 + 1 + amount;
  return value;
}

}  // namespace

TEST(serial_encoders_run_in_order) {
  const auto values = buffer_of(counting(5000));
  const auto triple = pipeline("triple_plus_one"), add = pipeline("add_in_place");
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    const std::uint32_t amount = 7;
    for (int i = 0; i < 20; ++i) {
      encode_in_place(encoder, triple.get(), values);
      encoder->setBytes(&amount, 4, 1);
      encode_in_place(encoder, add.get(), values);
    }
  });
  for (std::uint32_t i = 0; i < 5000; ++i) CHECK_EQUAL(values_of(values)[i], expected_after(i, 20, 7));
}

TEST(concurrent_encoders_keep_order_at_barriers) {
  const auto chain = make_buffer(4 * 301);
  const auto link = pipeline("link_of_chain");
  run_compute(
      [&](MTL::ComputeCommandEncoder* encoder) {
        encoder->setComputePipelineState(link.get());
        encoder->setBuffer(chain.get(), 0, 0);
        for (std::uint32_t i = 0; i < 300; ++i) {
          encoder->setBytes(&i, 4, 1);
          encoder->dispatchThreadgroups(along_x(1), along_x(1));
          if (i % 2) {
            encoder->memoryBarrier(MTL::BarrierScopeBuffers);
          } else {
            const MTL::Resource* resources[] = {chain.get()};
            encoder->memoryBarrier(resources, 1);
          }
        }
      },
      MTL::DispatchTypeConcurrent);
  CHECK_EQUAL(values_of(chain)[300], 300u);
}

TEST(concurrent_encoders_run_independent_dispatches) {
  std::vector<NS::SharedPtr<MTL::Buffer>> buffers;
  for (int i = 0; i < 40; ++i) buffers.push_back(buffer_of(counting(1 + 37 * i)));
  const auto triple = pipeline("triple_plus_one");
  run_compute(
      [&](MTL::ComputeCommandEncoder* encoder) {
        for (const auto& buffer : buffers) encode_in_place(encoder, triple.get(), buffer);
      },
      MTL::DispatchTypeConcurrent);
  for (const auto& buffer : buffers) {
    const std::size_t last = buffer->length() / 4 - 1;
    CHECK_EQUAL(values_of(buffer)[last], last * 3 + 1);
  }
}

TEST(command_buffers_run_in_the_order_of_commit) {
  const auto values = buffer_of(counting(100));
  const auto triple = pipeline("triple_plus_one"), add = pipeline("add_in_place");
  const auto queue = make_queue();
  MTL::CommandBuffer* last = nullptr;
  for (std::uint32_t i = 0; i < 30; ++i) {
    last = queue->commandBuffer();
    MTL::ComputeCommandEncoder* encoder = last->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encode_in_place(encoder, triple.get(), values);
    encoder->endEncoding();
    encoder = last->computeCommandEncoder(MTL::DispatchTypeConcurrent);
    encoder->setBytes(&i, 4, 1);
    encode_in_place(encoder, add.get(), values);
    encoder->endEncoding();
    last->commit();
  }
  last->waitUntilCompleted();
  std::uint32_t expected = 99;
  for (std::uint32_t i = 0; i < 30; ++i) expected = expected * 3 + 1 + i;
  CHECK_EQUAL(values_of(values)[99], expected);
}

TEST(enqueue_reserves_the_order) {
  const auto values = buffer_of(std::vector<std::uint32_t>{5});
  const auto triple = pipeline("triple_plus_one"), add = pipeline("add_in_place");
  const auto queue = make_queue();
  MTL::CommandBuffer* first = queue->commandBuffer();
  MTL::CommandBuffer* second = queue->commandBuffer();
  first->enqueue();
  CHECK_EQUAL(first->status(), MTL::CommandBufferStatusEnqueued);
  second->enqueue();
  MTL::ComputeCommandEncoder* encoder = second->computeCommandEncoder();
  encode_in_place(encoder, triple.get(), values);
  encoder->endEncoding();
  second->commit();
  encoder = first->computeCommandEncoder();
  const std::uint32_t amount = 10;
  encoder->setBytes(&amount, 4, 1);
  encode_in_place(encoder, add.get(), values);
  encoder->endEncoding();
  first->commit();
  second->waitUntilCompleted();
  CHECK_EQUAL(first->status(), MTL::CommandBufferStatusCompleted);
  CHECK_EQUAL(values_of(values)[0], 46u);
}

TEST(command_buffers_keep_what_they_use) {
  const auto queue = make_queue();
  const auto result = make_buffer(4 * 64);
  MTL::CommandBuffer* commands = queue->commandBuffer();
  CHECK(commands->retainedReferences());
  {
    const auto source = buffer_of(counting(64));
    const auto kernel = pipeline("triple_plus_one");
    MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
    encode_in_place(encoder, kernel.get(), source);
    encoder->endEncoding();
    MTL::BlitCommandEncoder* blit = commands->blitCommandEncoder();
    blit->copyFromBuffer(source.get(), 0, result.get(), 0, 256);
    blit->endEncoding();
  }
  commands->commit();
  commands->waitUntilCompleted();
  CHECK_EQUAL(values_of(result)[63], 190u);
  CHECK(!queue->commandBufferWithUnretainedReferences()->retainedReferences());
}

TEST(nothing_runs_before_commit) {
  const auto values = buffer_of(counting(16));
  const auto queue = make_queue();
  MTL::CommandBuffer* commands = queue->commandBuffer();
  MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
  const auto kernel = pipeline("triple_plus_one");
  encode_in_place(encoder, kernel.get(), values);
  encoder->endEncoding();
  CHECK_EQUAL(commands->status(), MTL::CommandBufferStatusNotEnqueued);
  CHECK_EQUAL(values_of(values)[5], 5u);
  commands->commit();
  commands->waitUntilScheduled();
  commands->waitUntilCompleted();
  CHECK_EQUAL(values_of(values)[5], 16u);
  CHECK(commands->GPUEndTime() >= commands->GPUStartTime() && commands->GPUStartTime() > 0);
}

TEST(blits_copy_and_fill) {
  const std::size_t count = 1 << 20;
  const auto source = buffer_of(counting(count));
  const auto destination = make_buffer(count * 4);
  const auto queue = make_queue();
  MTL::CommandBuffer* commands = queue->commandBuffer();
  MTL::BlitCommandEncoder* blit = commands->blitCommandEncoder();
  blit->fillBuffer(destination.get(), NS::Range::Make(0, count * 4), 0xab);
  blit->copyFromBuffer(source.get(), 4, destination.get(), 8, count * 4 - 12);
  blit->fillBuffer(destination.get(), NS::Range::Make(count * 4 - 3, 3), 0x01);
  blit->copyFromBuffer(source.get(), 0, destination.get(), 0, 0);
  blit->endEncoding();
  commands->commit();
  commands->waitUntilCompleted();
  const std::uint32_t* result = values_of(destination);
  CHECK_EQUAL(result[1], 0xababababu);
  for (std::size_t i = 2; i < count - 1; ++i) CHECK_EQUAL(result[i], i - 1);
  CHECK_EQUAL(result[count - 1], 0x010101abu);
}

TEST(command_buffers_of_many_threads) {
  const auto queue = make_queue();
  const auto kernel = pipeline("triple_plus_one");
  std::vector<NS::SharedPtr<MTL::Buffer>> buffers;
  for (int i = 0; i < 4; ++i) buffers.push_back(make_buffer(4 * 500));
  std::vector<std::thread> threads;
  for (const auto& buffer : buffers) {
    threads.emplace_back([&queue, &kernel, buffer] {
      for (int i = 0; i < 40; ++i) {
        const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
        MTL::CommandBuffer* commands = queue->commandBuffer();
        MTL::ComputeCommandEncoder* encoder = commands->computeCommandEncoder();
        encode_in_place(encoder, kernel.get(), buffer);
        encoder->endEncoding();
        commands->commit();
        if (i % 8 == 7) commands->waitUntilCompleted();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& buffer : buffers) CHECK_EQUAL(values_of(buffer)[499], expected_after(0, 40, 0));
}
