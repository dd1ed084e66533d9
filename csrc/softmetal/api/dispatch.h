// What a dispatch consists of, whether encoded directly or into an indirect command buffer.
#pragma once

#include <array>
#include <string>

#include "softmetal/api/pipeline.h"
#include "softmetal/api/resource.h"

namespace softmetal {

// What one [[buffer(n)]] is bound to: a buffer, or bytes copied by setBytes. Address 0: nothing.
struct Binding {
  const BufferImpl* buffer = nullptr;
  std::uint64_t offset = 0;
  std::uint64_t address = 0;    // of the first byte that the kernel sees
  std::uint64_t available = 0;  // bytes from there on
};

// A grid in threadgroups, or in threads of which the last threadgroups get what is left.
struct Grid {
  bool in_threads = false;
  MTL::Size size{0, 0, 0};
  MTL::Size threads_per_threadgroup{0, 0, 0};
};

struct DispatchState {
  ComputePipelineStateImpl* pipeline = nullptr;
  std::array<Binding, binding_count> buffers{};
  std::array<std::uint32_t, binding_count> threadgroup_memory{};
};

// Binds `buffer` (null: unbinds); returns what is wrong, or "", and then leaves the index unbound.
std::string bind_buffer(Binding* binding, const BufferImpl* buffer, std::uint64_t offset, std::uint64_t index);

// What is wrong with a threadgroup memory length, or "".
std::string threadgroup_memory_problem(std::uint64_t length, std::uint64_t index);

// What makes a dispatch impossible, or "". Always checked, as the kernel would go beyond its memory.
std::string dispatch_problem(const DispatchState& state, const Grid& grid);

// The driver's form of a dispatch without a problem.
Command make_dispatch(const DispatchState& state, const Grid& grid);

// For reports: 'buffer 2 ("weights" of kernel "rms_norm")'.
std::string describe_argument(const ComputePipelineStateImpl& pipeline, const fastgo::ArgumentReflection& argument);

}  // namespace softmetal
