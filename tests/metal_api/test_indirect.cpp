// Indirect command buffers: a replay does what direct encoding does.
#include "kernels.h"

using namespace metal_api;

namespace {

constexpr std::uint32_t links = 100;

struct Chain {
  NS::SharedPtr<MTL::ComputePipelineState> link = pipeline("link_of_chain", true);
  NS::SharedPtr<MTL::ComputePipelineState> triple = pipeline("triple_plus_one", true);
  NS::SharedPtr<MTL::Buffer> values = make_buffer(4 * (links + 1));
  NS::SharedPtr<MTL::Buffer> other = make_buffer(4 * 1000);
  NS::SharedPtr<MTL::Buffer> arguments = buffer_of(counting(links));
  NS::SharedPtr<MTL::IndirectCommandBuffer> commands = make_indirect(2 * links);

  Chain() {
    for (std::uint32_t i = 0; i < links; ++i) {
      MTL::IndirectComputeCommand* command = commands->indirectComputeCommand(2 * i);
      command->setComputePipelineState(link.get());
      command->setKernelBuffer(values.get(), 0, 0);
      command->setKernelBuffer(arguments.get(), 4 * i, 1);
      command->setBarrier();
      command->concurrentDispatchThreadgroups(along_x(1), along_x(1));
      command = commands->indirectComputeCommand(2 * i + 1);
      command->setComputePipelineState(triple.get());
      command->setKernelBuffer(other.get(), 0, 0);
      command->concurrentDispatchThreads(along_x(1000), along_x(64));
    }
  }

  void execute(MTL::ComputeCommandEncoder* encoder, NS::Range range) const {
    const MTL::Resource* resources[] = {values.get(), other.get(), arguments.get()};
    encoder->useResources(resources, 3, MTL::ResourceUsageRead | MTL::ResourceUsageWrite);
    encoder->executeCommandsInBuffer(commands.get(), range);
  }
};

std::uint32_t tripled(unsigned times) {
  std::uint32_t value = 0;
  for (unsigned i = 0; i < times; ++i) value = value * 3 + 1;
  return value;
}

}  // namespace

TEST(indirect_replay_equals_direct_encoding) {
  const Chain chain;
  for (unsigned replay = 1; replay <= 5; ++replay) {
    values_of(chain.values)[0] = replay;
    run_compute([&](MTL::ComputeCommandEncoder* encoder) { chain.execute(encoder, NS::Range::Make(0, 2 * links)); },
                MTL::DispatchTypeConcurrent);
    CHECK_EQUAL(values_of(chain.values)[links], replay + links);
    CHECK_EQUAL(values_of(chain.other)[999], tripled(replay * links));
  }
}

TEST(indirect_replays_share_a_command_buffer_with_direct_dispatches) {
  const Chain chain;
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    for (int i = 0; i < 3; ++i) {
      chain.execute(encoder, NS::Range::Make(0, 2 * links));
      encoder->setComputePipelineState(chain.triple.get());
      encoder->setBuffer(chain.values.get(), 4 * links, 0);
      encoder->dispatchThreadgroups(along_x(1), along_x(1));
      encoder->setBuffer(chain.other.get(), 0, 0);
      encoder->dispatchThreads(along_x(1000), along_x(64));
    }
  });
  CHECK_EQUAL(values_of(chain.values)[links], 3 * links + 1);
  CHECK_EQUAL(values_of(chain.other)[0], tripled(3 * links + 3));
}

TEST(indirect_ranges_and_reset) {
  const Chain chain;
  run_compute([&](MTL::ComputeCommandEncoder* encoder) { chain.execute(encoder, NS::Range::Make(0, 20)); });
  CHECK_EQUAL(values_of(chain.values)[10], 10u);
  CHECK_EQUAL(values_of(chain.values)[11], 0u);
  chain.commands->reset(NS::Range::Make(10, 10));
  values_of(chain.values)[0] = 50;
  run_compute([&](MTL::ComputeCommandEncoder* encoder) { chain.execute(encoder, NS::Range::Make(0, 20)); });
  CHECK_EQUAL(values_of(chain.values)[5], 55u);
  CHECK_EQUAL(values_of(chain.values)[6], 6u);
}

TEST(indirect_commands_can_be_changed_between_replays) {
  const Chain chain;
  const auto encode = [&](MTL::ComputeCommandEncoder* encoder) { chain.execute(encoder, NS::Range::Make(0, 1)); };
  run_compute(encode);
  chain.commands->indirectComputeCommand(0)->setKernelBuffer(chain.arguments.get(), 4, 1);
  run_compute(encode);
  CHECK_EQUAL(values_of(chain.values)[2], 2u);
}

TEST(indirect_commands_inherit_from_the_encoder) {
  const auto descriptor = NS::TransferPtr(MTL::IndirectCommandBufferDescriptor::alloc()->init());
  descriptor->setCommandTypes(MTL::IndirectCommandTypeConcurrentDispatchThreads);
  descriptor->setInheritBuffers(true);
  descriptor->setInheritPipelineState(true);
  const auto commands =
      NS::TransferPtr(device()->newIndirectCommandBuffer(descriptor.get(), 1, MTL::ResourceStorageModeShared));
  commands->indirectComputeCommand(0)->concurrentDispatchThreads(along_x(10), along_x(32));
  const auto values = buffer_of(counting(11));
  const auto kernel = pipeline("triple_plus_one", true);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(kernel.get());
    encoder->setBuffer(values.get(), 0, 0);
    encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
  });
  CHECK_EQUAL(values_of(values)[9], 28u);
  CHECK_EQUAL(values_of(values)[10], 10u);
}

TEST(indirect_threadgroup_memory) {
  const auto commands = make_indirect(1);
  const auto kernel = pipeline("reverse_dynamic", true);
  const auto values = buffer_of(counting(64));
  MTL::IndirectComputeCommand* command = commands->indirectComputeCommand(0);
  command->setComputePipelineState(kernel.get());
  command->setKernelBuffer(values.get(), 0, 0);
  command->setThreadgroupMemoryLength(256, 0);
  command->concurrentDispatchThreadgroups(along_x(1), along_x(64));
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->useResource(values.get(), MTL::ResourceUsageRead | MTL::ResourceUsageWrite);
    encoder->executeCommandsInBuffer(commands.get(), NS::Range::Make(0, 1));
  });
  CHECK_EQUAL(values_of(values)[0], 63u);
}
