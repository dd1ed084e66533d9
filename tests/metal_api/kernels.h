// Short ways to the device, to pipelines of kernels.metal, and to buffers filled with values.
#pragma once

#include <Metal/Metal.hpp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "harness.h"

namespace metal_api {

MTL::Device* device();
// The library of a .metal file of this folder.
NS::SharedPtr<MTL::Library> library(const std::string& file = "kernels");
NS::SharedPtr<MTL::ComputePipelineState> pipeline(const char* kernel, bool indirect = false,
                                                  bool whole_simdgroups = false);
NS::SharedPtr<MTL::CommandQueue> make_queue();
NS::String* text(const std::string& value);

// Page-aligned memory of the host; free with std::free.
void* host_pages(std::size_t length);
std::size_t page_size();

NS::SharedPtr<MTL::Buffer> make_buffer(std::size_t length, MTL::ResourceOptions options = 0);

template <class T>
NS::SharedPtr<MTL::Buffer> buffer_of(const std::vector<T>& values) {
  return NS::TransferPtr(device()->newBuffer(values.data(), values.size() * sizeof(T), MTL::ResourceStorageModeShared));
}

template <class T = std::uint32_t>
T* values_of(const NS::SharedPtr<MTL::Buffer>& buffer) {
  return static_cast<T*>(buffer->contents());
}

std::vector<std::uint32_t> counting(std::size_t count);

// Encodes into one compute encoder, commits, waits, and checks that there was no error.
void run_compute(const std::function<void(MTL::ComputeCommandEncoder*)>& encode,
                 MTL::DispatchType type = MTL::DispatchTypeSerial);

// One-dimensional grids and threadgroups.
inline MTL::Size along_x(NS::UInteger width) { return MTL::Size(width, 1, 1); }

// A command buffer with an open compute encoder, for faults.
struct Encoding {
  explicit Encoding(MTL::DispatchType type = MTL::DispatchTypeSerial);

  NS::SharedPtr<MTL::CommandQueue> queue;
  MTL::CommandBuffer* commands;
  MTL::ComputeCommandEncoder* encoder;
};

// An indirect command buffer with room for `count` commands of up to four buffers.
NS::SharedPtr<MTL::IndirectCommandBuffer> make_indirect(NS::UInteger count);

}  // namespace metal_api
