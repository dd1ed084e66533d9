// Helpers of the tests.
#include "kernels.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "metal/shader_list.h"

namespace metal_api {

MTL::Device* device() {
  static MTL::Device* instance = MTL::CreateSystemDefaultDevice();
  return instance;
}

NS::SharedPtr<MTL::Library> library(const std::string& file) {
  const auto* end = fastgo::shader_files + fastgo::shader_file_count;
  const auto* found = std::find_if(fastgo::shader_files, end, [&](const auto* entry) { return file == entry->name; });
  CHECK(found != end);
  NS::Error* error = nullptr;
  const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  auto made = NS::TransferPtr(device()->newLibrary(text((*found)->source), options.get(), &error));
  if (!made) fail(__FILE__, __LINE__, error->localizedDescription()->utf8String());
  return made;
}

NS::SharedPtr<MTL::ComputePipelineState> pipeline(const char* kernel, bool indirect, bool whole_simdgroups) {
  const auto function = NS::TransferPtr(library()->newFunction(text(kernel)));
  CHECK(function);
  const auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
  descriptor->setComputeFunction(function.get());
  descriptor->setSupportIndirectCommandBuffers(indirect);
  descriptor->setThreadGroupSizeIsMultipleOfThreadExecutionWidth(whole_simdgroups);
  descriptor->setLabel(text(kernel));
  NS::Error* error = nullptr;
  auto made =
      NS::TransferPtr(device()->newComputePipelineState(descriptor.get(), MTL::PipelineOptionNone, nullptr, &error));
  if (!made) fail(__FILE__, __LINE__, error->localizedDescription()->utf8String());
  return made;
}

NS::SharedPtr<MTL::CommandQueue> make_queue() { return NS::TransferPtr(device()->newCommandQueue()); }

NS::String* text(const std::string& value) { return NS::String::string(value.c_str(), NS::UTF8StringEncoding); }

std::size_t page_size() { return static_cast<std::size_t>(getpagesize()); }

void* host_pages(std::size_t length) {
  void* pointer = nullptr;
  CHECK_EQUAL(posix_memalign(&pointer, page_size(), length), 0);
  std::memset(pointer, 0, length);
  return pointer;
}

NS::SharedPtr<MTL::Buffer> make_buffer(std::size_t length, MTL::ResourceOptions options) {
  return NS::TransferPtr(device()->newBuffer(length, options));
}

std::vector<std::uint32_t> counting(std::size_t count) {
  std::vector<std::uint32_t> values(count);
  std::iota(values.begin(), values.end(), 0u);
  return values;
}

void run_compute(const std::function<void(MTL::ComputeCommandEncoder*)>& encode, MTL::DispatchType type) {
  const Encoding encoding(type);
  encode(encoding.encoder);
  encoding.encoder->endEncoding();
  encoding.commands->commit();
  encoding.commands->waitUntilCompleted();
  if (NS::Error* error = encoding.commands->error()) {
    fail(__FILE__, __LINE__, error->localizedDescription()->utf8String());
  }
  CHECK_EQUAL(encoding.commands->status(), MTL::CommandBufferStatusCompleted);
}

Encoding::Encoding(MTL::DispatchType type)
    : queue(make_queue()), commands(queue->commandBuffer()), encoder(commands->computeCommandEncoder(type)) {}

NS::SharedPtr<MTL::IndirectCommandBuffer> make_indirect(NS::UInteger count) {
  const auto descriptor = NS::TransferPtr(MTL::IndirectCommandBufferDescriptor::alloc()->init());
  descriptor->setCommandTypes(MTL::IndirectCommandTypeConcurrentDispatch |
                              MTL::IndirectCommandTypeConcurrentDispatchThreads);
  descriptor->setInheritBuffers(false);
  descriptor->setInheritPipelineState(false);
  descriptor->setMaxKernelBufferBindCount(4);
  return NS::TransferPtr(device()->newIndirectCommandBuffer(descriptor.get(), count, MTL::ResourceStorageModeShared));
}

}  // namespace metal_api
