// Buffers, heaps, and objects' lifetimes.
#include <cstdlib>

#include "kernels.h"

using namespace metal_api;

TEST(buffers_are_zeroed_and_writable) {
  for (const std::size_t length : {1u, 100u, 5000u, 300000u, 5000000u}) {
    const auto buffer = make_buffer(length);
    CHECK_EQUAL(buffer->length(), length);
    auto* bytes = values_of<unsigned char>(buffer);
    CHECK_EQUAL(bytes[0] + bytes[length - 1], 0);
    bytes[length - 1] = 7;
    CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(bytes) % 16, 0u);
  }
}

TEST(buffers_copy_initial_bytes) {
  std::vector<std::uint32_t> values = counting(1000);
  const auto buffer = buffer_of(values);
  values[999] = 1;
  CHECK_EQUAL(values_of(buffer)[999], 999u);
}

TEST(buffers_wrap_host_memory_without_copy) {
  const std::size_t length = 4 * page_size();
  auto* memory = static_cast<std::uint32_t*>(host_pages(length));
  [[maybe_unused]] int freed = 0;
#ifdef __APPLE__
  auto wrapped = NS::TransferPtr(device()->newBuffer(memory, length, MTL::ResourceStorageModeShared, nullptr));
#else
  auto wrapped = NS::TransferPtr(
      device()->newBuffer(memory, length, MTL::ResourceStorageModeShared,
                          [&](void* pointer, NS::UInteger bytes) { freed += pointer == memory && bytes == length; }));
#endif
  CHECK(wrapped->contents() == memory);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("triple_plus_one").get());
    encoder->setBuffer(wrapped.get(), 0, 0);
    encoder->dispatchThreads(along_x(length / 4), along_x(64));
  });
  CHECK_EQUAL(memory[length / 4 - 1], 1u);
  wrapped.reset();
#ifndef __APPLE__
  CHECK_EQUAL(freed, 1);
#endif
  std::free(memory);
}

TEST(private_buffers_have_no_contents_and_are_filled_by_blits) {
  const auto staging = buffer_of(counting(256));
  const auto hidden = make_buffer(1024, MTL::ResourceStorageModePrivate);
  CHECK_EQUAL(hidden->storageMode(), MTL::StorageModePrivate);
  const auto result = make_buffer(1024);
  const auto queue = make_queue();
  MTL::CommandBuffer* commands = queue->commandBuffer();
  MTL::BlitCommandEncoder* blit = commands->blitCommandEncoder();
  blit->copyFromBuffer(staging.get(), 0, hidden.get(), 0, 1024);
  blit->copyFromBuffer(hidden.get(), 4, result.get(), 0, 1020);
  blit->endEncoding();
  commands->commit();
  commands->waitUntilCompleted();
  CHECK_EQUAL(values_of(result)[0], 1u);
  CHECK_EQUAL(values_of(result)[254], 255u);
}

TEST(heaps_place_buffers) {
  const auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
  descriptor->setType(MTL::HeapTypePlacement);
  descriptor->setStorageMode(MTL::StorageModeShared);
  descriptor->setSize(64 * 1024);
  auto heap = NS::TransferPtr(device()->newHeap(descriptor.get()));
  CHECK_EQUAL(heap->type(), MTL::HeapTypePlacement);
  CHECK(heap->size() >= 64 * 1024);
  const MTL::SizeAndAlign need = device()->heapBufferSizeAndAlign(1000, MTL::ResourceStorageModeShared);
  const NS::UInteger align = need.align;
  CHECK(need.size >= 1000 && align > 0 && need.size % align == 0);
  const auto first = NS::TransferPtr(heap->newBuffer(1000, MTL::ResourceStorageModeShared, 0));
  const auto second = NS::TransferPtr(heap->newBuffer(1000, MTL::ResourceStorageModeShared, need.size));
  const auto alias = NS::TransferPtr(heap->newBuffer(2000, MTL::ResourceStorageModeShared, 0));
  CHECK(static_cast<char*>(second->contents()) - static_cast<char*>(first->contents()) ==
        static_cast<std::ptrdiff_t>(need.size));
  CHECK(alias->contents() == first->contents());
  CHECK_EQUAL(second->heapOffset(), need.size);
  CHECK(second->heap() == heap.get());
  CHECK_EQUAL(second->hazardTrackingMode(), MTL::HazardTrackingModeUntracked);
  values_of(first)[3] = 42;
  heap.reset();  // the buffers keep it
  CHECK_EQUAL(values_of(alias)[3], 42u);
}

TEST(allocated_size_rises_and_falls) {
  const NS::UInteger before = device()->currentAllocatedSize();
  auto buffer = make_buffer(1 << 20);
  CHECK(device()->currentAllocatedSize() >= before + (1 << 20));
  buffer.reset();
  CHECK_EQUAL(device()->currentAllocatedSize(), before);
}

TEST(devices_describe_themselves) {
  CHECK(device()->name()->length() > 0);
  CHECK(device()->maxBufferLength() >= (1u << 28));
  CHECK(device()->recommendedMaxWorkingSetSize() > 0);
  CHECK_EQUAL(device()->maxThreadgroupMemoryLength(), 32768u);
  CHECK(device()->maxThreadsPerThreadgroup().width >= 512);
  CHECK(device()->supportsFamily(MTL::GPUFamilyMetal3));
  const auto all = NS::TransferPtr(MTL::CopyAllDevices());
  CHECK(all->count() >= 1);
  CHECK_EQUAL(all->object<MTL::Device>(0)->registryID(), device()->registryID());
}

TEST(objects_are_counted) {
  const auto buffer = make_buffer(16);
  CHECK_EQUAL(buffer->retainCount(), 1u);
  {
    const NS::SharedPtr<MTL::Resource> shared = buffer;
    CHECK_EQUAL(buffer->retainCount(), 2u);
  }
  CHECK_EQUAL(buffer->retainCount(), 1u);
  NS::AutoreleasePool* pool = NS::AutoreleasePool::alloc()->init();
  buffer->retain()->autorelease();
  CHECK_EQUAL(buffer->retainCount(), 2u);
  pool->drain();
  CHECK_EQUAL(buffer->retainCount(), 1u);
}

TEST(labels_and_strings) {
  const auto buffer = make_buffer(16);
  CHECK(buffer->label() == nullptr);
  buffer->setLabel(text("weights"));
  CHECK(buffer->label()->isEqualToString(MTLSTR("weights")));
  CHECK_EQUAL(text("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80")->length(), 7u);
  CHECK_EQUAL(std::string(text("a")->stringByAppendingString(text("b"))->utf8String()), "ab");
}
