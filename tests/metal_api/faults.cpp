// Wrong uses of objects, resources and descriptors, each found by the validation layer.
#include <cstdlib>

#include "kernels.h"

using namespace metal_api;

FAULT(released_buffer, "setBuffer: buffer is a released MTL::Buffer") {
  const Encoding encoding;
  MTL::Buffer* buffer = device()->newBuffer(64, MTL::ResourceStorageModeShared);
  buffer->release();
  encoding.encoder->setBuffer(buffer, 0, 0);
}

FAULT(released_object_called, "contents: this object is a released MTL::Buffer") {
  MTL::Buffer* buffer = device()->newBuffer(64, MTL::ResourceStorageModeShared);
  buffer->release();
  buffer->contents();
}

FAULT(released_twice, "release: this object is a released MTL::Buffer") {
  MTL::Buffer* buffer = device()->newBuffer(64, MTL::ResourceStorageModeShared);
  buffer->release();
  buffer->release();
}

FAULT(foreign_object, "setBuffer: buffer is no object of softmetal") {
  const Encoding encoding;
  alignas(16) static char foreign[256];
  encoding.encoder->setBuffer(reinterpret_cast<MTL::Buffer*>(foreign), 0, 0);
}

FAULT(null_pipeline, "setComputePipelineState: state is null") {
  const Encoding encoding;
  encoding.encoder->setComputePipelineState(nullptr);
}

FAULT(private_contents, "contents: buffer \"hidden\" has private storage") {
  const auto buffer = make_buffer(64, MTL::ResourceStorageModePrivate);
  buffer->setLabel(text("hidden"));
  buffer->contents();
}

FAULT(private_buffer_from_bytes, "newBuffer: private storage cannot be filled from the host") {
  const int value = 0;
  device()->newBuffer(&value, sizeof value, MTL::ResourceStorageModePrivate);
}

FAULT(shared_buffer_modified, "didModifyRange: buffer") { make_buffer(64)->didModifyRange(NS::Range::Make(0, 4)); }

FAULT(empty_buffer, "newBuffer: length is 0") { make_buffer(0); }

FAULT(huge_buffer, "is above maxBufferLength") { make_buffer(std::size_t(1) << 60); }

FAULT(wrapped_pointer_misaligned, "newBuffer: pointer is null or not aligned to the page size") {
  char* memory = static_cast<char*>(host_pages(2 * page_size()));
  device()->newBuffer(memory + 64, page_size(), MTL::ResourceStorageModeShared, nullptr);
}

FAULT(wrapped_length_misaligned, "is no multiple of the page size") {
  device()->newBuffer(host_pages(2 * page_size()), page_size() + 1, MTL::ResourceStorageModeShared, nullptr);
}

namespace {

NS::SharedPtr<MTL::Heap> small_heap() {
  const auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
  descriptor->setType(MTL::HeapTypePlacement);
  descriptor->setStorageMode(MTL::StorageModeShared);
  descriptor->setSize(4096);
  return NS::TransferPtr(device()->newHeap(descriptor.get()));
}

}  // namespace

FAULT(heap_offset_misaligned, "newBuffer: offset 8 is no multiple of the alignment") {
  small_heap()->newBuffer(64, MTL::ResourceStorageModeShared, 8);
}

FAULT(heap_overrun, "newBuffer: offset 3840 + length 512 is beyond the heap's size 4096") {
  small_heap()->newBuffer(512, MTL::ResourceStorageModeShared, 3840);
}

FAULT(heap_storage_mode, "newBuffer: options ask for another storage mode than the heap's") {
  small_heap()->newBuffer(64, MTL::ResourceStorageModePrivate, 0);
}

FAULT(heap_type_unimplemented, "newHeap: not implemented: heap types other than HeapTypePlacement") {
  const auto descriptor = NS::TransferPtr(MTL::HeapDescriptor::alloc()->init());
  descriptor->setSize(4096);
  device()->newHeap(descriptor.get());
}

FAULT(indirect_commands_of_zero, "newIndirectCommandBuffer: maxCount 0") { make_indirect(0); }

FAULT(indirect_index_out_of_range, "indirectComputeCommand: commandIndex 4 is not below the size 4") {
  make_indirect(4)->indirectComputeCommand(4);
}

FAULT(indirect_reset_out_of_range, "reset: range ends at 6, beyond the size 4") {
  make_indirect(4)->reset(NS::Range::Make(2, 4));
}

FAULT(indirect_pipeline_unsupported, "was made without supportIndirectCommandBuffers") {
  make_indirect(1)->indirectComputeCommand(0)->setComputePipelineState(pipeline("line", false).get());
}

FAULT(indirect_buffer_index, "command 0: index 4 is not below the limit of 4") {
  const auto buffer = make_buffer(64);
  make_indirect(1)->indirectComputeCommand(0)->setKernelBuffer(buffer.get(), 0, 4);
}
