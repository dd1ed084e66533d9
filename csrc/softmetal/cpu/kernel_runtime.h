// What the C++ that mslc writes calls: where a group lies in the grid, its memory, its constants, and the two runners.
// Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "softmetal/cpu/fibre.h"
#include "softmetal/cpu/kernel_abi.h"

#if defined(__clang__)
#define SOFTMETAL_INDEPENDENT_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define SOFTMETAL_INDEPENDENT_LOOP _Pragma("GCC ivdep")
#endif

namespace softmetal::cpu {

// The type of a kernel function's parameter number I.
template <std::size_t I, typename Signature>
struct Argument;

template <std::size_t I, typename... Parameters>
struct Argument<I, void(Parameters...)> {
  using type = std::tuple_element_t<I, std::tuple<Parameters...>>;
};

template <std::size_t I, typename Signature>
using argument_t = typename Argument<I, Signature>::type;

// Offsets of a kernel's threadgroup variables and the size of them all.
template <std::size_t count>
struct GroupLayout {
  std::size_t offset[count];
  std::size_t size;

  template <typename T>
  constexpr void add(std::size_t index) {
    offset[index] = (size + alignof(T) - 1) / alignof(T) * alignof(T);
    size = offset[index] + sizeof(T);
  }
};

constexpr std::uint32_t volume(const Size3& size) { return size.x * size.y * size.z; }

struct GroupPlace {
  GroupPlace(const Launch& launch, const Threadgroup& threadgroup)
      : group(threadgroup),
        origin{threadgroup.position.x * launch.threads_per_threadgroup.x,
               threadgroup.position.y * launch.threads_per_threadgroup.y,
               threadgroup.position.z * launch.threads_per_threadgroup.z},
        threads(volume(threadgroup.threads)),
        dispatched_threads(volume(launch.threads_per_threadgroup)) {}

  const Threadgroup& group;
  Size3 origin;  // the position in the grid of the group's first thread
  std::uint32_t threads;
  std::uint32_t dispatched_threads;
};

// What an argument reads that a function constant leaves unbound: shaders may load from it and not use the value.
alignas(64) inline constexpr unsigned char absent_buffer[4096] = {};

inline void* buffer_or_zeros(void* buffer) {
  return buffer != nullptr ? buffer : const_cast<unsigned char*>(absent_buffer);
}

struct ThreadPlace {
  Size3 position;  // in the threadgroup
  std::uint32_t index;
};

// Reserves the group's memory: the kernel's own variables first, then each [[threadgroup(n)]] argument.
template <std::size_t count>
class GroupMemory {
 public:
  template <typename Indices = std::uint32_t[count == 0 ? 1 : count]>
  GroupMemory(const Launch& launch, std::size_t static_size, const Indices& indices) {
    std::size_t size = round_up(static_size);
    for (std::size_t i = 0; i < count; i++) {
      offset_[i] = size;
      size += round_up(launch.threadgroup_memory_size[indices[i]]);
    }
    reserve_group_memory(size + alignment);
  }

  void* dynamic(std::size_t argument) const { return group_memory(offset_[argument]); }

 private:
  static constexpr std::size_t alignment = 16;
  static constexpr std::size_t round_up(std::size_t size) { return (size + alignment - 1) / alignment * alignment; }

  std::size_t offset_[count == 0 ? 1 : count];
};

// Sets a function constant from the pipeline's value, zero if it has none; returns whether it has one.
template <typename T>
inline bool load_constant(const ConstantValue& value, T& constant) {
  static_assert(sizeof(T) <= sizeof(value.bytes));
  constant = T();
  if (value.defined) std::memcpy(static_cast<void*>(&constant), value.bytes, sizeof(T));
  return value.defined;
}

#if defined(__clang__)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"  // not every kernel can be vectorised
#endif
// Runs the threads one after another; for kernels whose threads never wait for each other.
template <typename Body>
__attribute__((always_inline)) inline void run_loops(const char*, const GroupPlace& place, const Body& body) {
  const Size3 threads = place.group.threads;
  for (std::uint32_t z = 0; z < threads.z; z++) {
    for (std::uint32_t y = 0; y < threads.y; y++) {
      const std::uint32_t row = (z * threads.y + y) * threads.x;
      SOFTMETAL_INDEPENDENT_LOOP
      for (std::uint32_t x = 0; x < threads.x; x++) body(ThreadPlace{{x, y, z}, row + x});
    }
  }
}

#if defined(__clang__)
#pragma clang diagnostic pop
#endif

// Runs the threads as fibres that keep step at barriers and simdgroup functions.
template <typename Body>
inline void run_fibres(const char* kernel, const GroupPlace& place, const Body& body) {
  struct Call {
    const GroupPlace& place;
    const Body& body;
  };
  Call call{place, body};
  run_group(
      kernel, place.group, place.threads,
      [](void* argument, std::uint32_t index) {
        const Call& self = *static_cast<const Call*>(argument);
        const Size3 threads = self.place.group.threads;
        const std::uint32_t row = index / threads.x;
        self.body(ThreadPlace{{index % threads.x, row % threads.y, row / threads.y}, index});
      },
      &call);
}

}  // namespace softmetal::cpu
