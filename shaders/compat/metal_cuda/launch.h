// What a kernel learns about its launch: where its thread lies in the grid, and function constants from macros.
//
// Counts are threads or threadgroups. LaunchSizes is written by the driver: csrc/softmetal/cuda/launch_sizes.h.
#pragma once

#include "../metal_cpu/vector.h"

namespace metal {
namespace cuda {

struct Size3 {
  uint x, y, z;
};

struct LaunchSizes {
  Size3 threads_per_grid;
  Size3 threadgroups_per_grid;
  uint is_flat;   // CUDA's grid is one-dimensional, since its y and z end at 65535
  uint is_whole;  // every threadgroup has all its threads
};

METAL_FUNC constexpr uint volume(const Size3& size) { return size.x * size.y * size.z; }
METAL_FUNC uint clipped(uint grid, uint group, uint size) {
  return grid - group * size < size ? grid - group * size : size;
}

METAL_FUNC bool is_whole(const LaunchSizes& sizes) {
#ifdef SOFTMETAL_WHOLE_SIMDGROUPS
  return true;
#else
  return sizes.is_whole != 0;
#endif
}

// The place of this thread. Threads beyond the grid's edge are not `inside`; the rest of their group keeps whole
// simdgroups, because positions follow the hardware's numbering.
struct Place {
  METAL_FUNC explicit Place(const LaunchSizes& sizes)
      : group{blockIdx.x, blockIdx.y, blockIdx.z}, dispatched{blockDim.x, blockDim.y, blockDim.z} {
    if (sizes.is_flat != 0) {
      const Size3& groups = sizes.threadgroups_per_grid;
      group = {blockIdx.x % groups.x, blockIdx.x / groups.x % groups.y, blockIdx.x / groups.x / groups.y};
    }
    origin = {group.x * dispatched.x, group.y * dispatched.y, group.z * dispatched.z};
    index = (threadIdx.z * dispatched.y + threadIdx.y) * dispatched.x + threadIdx.x;
    position = {threadIdx.x, threadIdx.y, threadIdx.z};
    if (is_whole(sizes)) {
      threads = dispatched;
      inside = true;
      return;
    }
    const Size3& grid = sizes.threads_per_grid;
    threads = {clipped(grid.x, group.x, dispatched.x), clipped(grid.y, group.y, dispatched.y),
               clipped(grid.z, group.z, dispatched.z)};
    inside = index < volume(threads);
    if (volume(threads) != volume(dispatched)) {
      position = {index % threads.x, index / threads.x % threads.y, index / threads.x / threads.y};
    }
  }

  Size3 group, origin, threads, dispatched, position;
  uint index;
  bool inside;
};

// The type of a kernel function's parameter number I, and the pointer that the driver passes for it.
template <uint I, typename Signature>
struct Argument;
template <typename First, typename... Rest>
struct Argument<0, void(First, Rest...)> {
  using type = First;
};
template <uint I, typename First, typename... Rest>
struct Argument<I, void(First, Rest...)> : Argument<I - 1, void(Rest...)> {};

template <uint I, typename Signature>
using argument_t = typename Argument<I, Signature>::type;
template <uint I, typename Signature>
using pointer_t = std::conditional_t<std::is_pointer_v<argument_t<I, Signature>>, argument_t<I, Signature>,
                                     std::remove_reference_t<argument_t<I, Signature>>*>;

extern __shared__ __align__(16) unsigned char dynamic_memory[];

// Sets a threadgroup variable to zero, with all threads of the group.
template <typename T>
METAL_FUNC void clear(T& variable) {
  const uint index = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  auto* bytes = reinterpret_cast<unsigned char*>(&variable);
  for (uint i = index; i < sizeof(T); i += blockDim.x * blockDim.y * blockDim.z) bytes[i] = 0;
  __syncthreads();
}

// A function constant's value from its 16 bytes.
template <typename T>
struct Constant {
  static constexpr T value(bool, unsigned long long low, unsigned long long) {
    if constexpr (std::is_same_v<T, bool>) {
      return (low & 0xFF) != 0;
    } else if constexpr (sizeof(T) == 8) {
      return __builtin_bit_cast(T, low);
    } else if constexpr (sizeof(T) == 4) {
      return __builtin_bit_cast(T, static_cast<unsigned int>(low));
    } else if constexpr (sizeof(T) == 2) {
      return __builtin_bit_cast(T, static_cast<unsigned short>(low));
    } else {
      static_assert(sizeof(T) == 1, "function constants are scalars or vectors");
      return __builtin_bit_cast(T, static_cast<unsigned char>(low));
    }
  }
};
template <typename T, int N>
struct Constant<vec<T, N>> {
  static constexpr T component(unsigned long long low, unsigned long long high, int i) {
    const int bit = i * static_cast<int>(sizeof(T)) * 8;
    return Constant<T>::value(true, bit < 64 ? low >> bit : high >> (bit - 64), 0);
  }
  static constexpr vec<T, N> value(bool, unsigned long long low, unsigned long long high) {
    if constexpr (N == 2) {
      return vec<T, N>(component(low, high, 0), component(low, high, 1));
    } else if constexpr (N == 3) {
      return vec<T, N>(component(low, high, 0), component(low, high, 1), component(low, high, 2));
    } else {
      return vec<T, N>(component(low, high, 0), component(low, high, 1), component(low, high, 2),
                       component(low, high, 3));
    }
  }
};
constexpr bool is_defined(bool defined, unsigned long long, unsigned long long) { return defined; }

}  // namespace cuda
}  // namespace metal
