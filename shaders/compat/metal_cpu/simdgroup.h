// <metal_compute>, <metal_simdgroup> and <metal_quadgroup>: barriers and what the lanes of a simdgroup do together.
#pragma once

#include "integer.h"
#include "softmetal/cpu/simdgroup.h"
#include "traits.h"

namespace metal {

enum class mem_flags : uint {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8,
  mem_object_data = 16,
};
METAL_FUNC constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }
METAL_FUNC constexpr mem_flags operator&(mem_flags a, mem_flags b) { return mem_flags(uint(a) & uint(b)); }

METAL_FUNC void threadgroup_barrier(mem_flags) { softmetal::cpu::wait_at_threadgroup_barrier(); }
METAL_FUNC void simdgroup_barrier(mem_flags) { softmetal::cpu::meet<softmetal::cpu::SimdgroupBarrier>(0); }

namespace cpu {

#define SOFTMETAL_FOLD(Type, label, expression)                     \
  struct Type {                                                     \
    static constexpr const char* name = "simd_" #label;             \
    static constexpr const char* quad_name = "quad_" #label;        \
    template <typename T>                                           \
    METAL_FUNC static constexpr T combine(const T& a, const T& b) { \
      return static_cast<T>(expression);                            \
    }                                                               \
    template <typename T>                                           \
    static constexpr T identity() {                                 \
      return T(Identity_##Type);                                    \
    }                                                               \
  };
// Integers wrap round, as a GPU's do.
template <typename T>
METAL_FUNC constexpr auto wrapping(const T& value) {
  if constexpr (std::is_same_v<T, int> || std::is_same_v<T, long>) {
    return static_cast<std::make_unsigned_t<T>>(value);
  } else {
    return value;
  }
}

constexpr int Identity_Sum = 0, Identity_Product = 1, Identity_Min = 0, Identity_Max = 0;
constexpr int Identity_And = 0, Identity_Or = 0, Identity_Xor = 0;
SOFTMETAL_FOLD(Sum, sum, wrapping(a) + wrapping(b))
SOFTMETAL_FOLD(Product, product, wrapping(a) * wrapping(b))
SOFTMETAL_FOLD(Min, min, metal::min(a, b))
SOFTMETAL_FOLD(Max, max, metal::max(a, b))
SOFTMETAL_FOLD(And, and, a& b)
SOFTMETAL_FOLD(Or, or, a | b)
SOFTMETAL_FOLD(Xor, xor, a ^ b)
#undef SOFTMETAL_FOLD

constexpr uint quad_size = 4;

}  // namespace cpu

#define SOFTMETAL_REDUCTION(label, Fold)                                             \
  template <typename T>                                                              \
  METAL_FUNC T simd_##label(T value) {                                               \
    return softmetal::cpu::meet<softmetal::cpu::Reduction<T, cpu::Fold>>(value);     \
  }                                                                                  \
  template <typename T>                                                              \
  METAL_FUNC T quad_##label(T value) {                                               \
    return softmetal::cpu::meet<softmetal::cpu::QuadReduction<T, cpu::Fold>>(value); \
  }
SOFTMETAL_REDUCTION(sum, Sum)
SOFTMETAL_REDUCTION(product, Product)
SOFTMETAL_REDUCTION(min, Min)
SOFTMETAL_REDUCTION(max, Max)
SOFTMETAL_REDUCTION(and, And)
SOFTMETAL_REDUCTION(or, Or)
SOFTMETAL_REDUCTION(xor, Xor)
#undef SOFTMETAL_REDUCTION

#define SOFTMETAL_SCAN(label, Fold)                                                    \
  template <typename T>                                                                \
  METAL_FUNC T simd_prefix_inclusive_##label(T value) {                                \
    return softmetal::cpu::meet<softmetal::cpu::Scan<T, cpu::Fold, true, 32>>(value);  \
  }                                                                                    \
  template <typename T>                                                                \
  METAL_FUNC T simd_prefix_exclusive_##label(T value) {                                \
    return softmetal::cpu::meet<softmetal::cpu::Scan<T, cpu::Fold, false, 32>>(value); \
  }                                                                                    \
  template <typename T>                                                                \
  METAL_FUNC T quad_prefix_inclusive_##label(T value) {                                \
    return softmetal::cpu::meet<softmetal::cpu::Scan<T, cpu::Fold, true, 4>>(value);   \
  }                                                                                    \
  template <typename T>                                                                \
  METAL_FUNC T quad_prefix_exclusive_##label(T value) {                                \
    return softmetal::cpu::meet<softmetal::cpu::Scan<T, cpu::Fold, false, 4>>(value);  \
  }
SOFTMETAL_SCAN(sum, Sum)
SOFTMETAL_SCAN(product, Product)
#undef SOFTMETAL_SCAN

namespace cpu {

// Shuffles within groups of `width` lanes; a source outside the group means the lane itself.
template <uint width, typename T>
METAL_FUNC T shuffle_to(T value, int source_in_group, bool valid = true) {
  const uint lane = softmetal::cpu::current_lane();
  const bool inside = valid && source_in_group >= 0 && source_in_group < static_cast<int>(width);
  return softmetal::cpu::shuffle(value, inside ? lane / width * width + static_cast<uint>(source_in_group) : lane);
}

template <uint width>
METAL_FUNC int place_in_group() {
  return static_cast<int>(softmetal::cpu::current_lane() % width);
}

// Data of the lane at place + shift; beyond the chunk of `modulo` lanes it comes from `filling`, round the other side.
template <uint width, typename T>
METAL_FUNC T shuffle_and_fill(T data, T filling, int shift, uint modulo) {
  const int size = static_cast<int>(modulo == 0 ? width : modulo);
  const int place = place_in_group<width>();
  const int base = place / size * size;
  const int target = place - base + shift;
  const bool inside = target >= 0 && target < size;
  const int wrapped = ((target % size) + size) % size;
  const T own = shuffle_to<width>(data, base + wrapped);
  const T other = shuffle_to<width>(filling, base + wrapped);
  return inside ? own : other;
}

}  // namespace cpu

#define SOFTMETAL_SHUFFLES(group, width)                                                               \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle(T data, ushort lane) {                                                  \
    return cpu::shuffle_to<width>(data, lane);                                                         \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_broadcast(T data, ushort lane) {                                                \
    return cpu::shuffle_to<width>(data, lane);                                                         \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_xor(T data, ushort mask) {                                              \
    return cpu::shuffle_to<width>(data, cpu::place_in_group<width>() ^ mask);                          \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_up(T data, ushort delta) {                                              \
    return cpu::shuffle_to<width>(data, cpu::place_in_group<width>() - delta);                         \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_down(T data, ushort delta) {                                            \
    return cpu::shuffle_to<width>(data, cpu::place_in_group<width>() + delta);                         \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_rotate_up(T data, ushort delta) {                                       \
    return cpu::shuffle_to<width>(data, int(uint(cpu::place_in_group<width>() - delta) % width));      \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_rotate_down(T data, ushort delta) {                                     \
    return cpu::shuffle_to<width>(data, int(uint(cpu::place_in_group<width>() + delta) % width));      \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_and_fill_up(T data, T filling, ushort delta, ushort modulo = width) {   \
    return cpu::shuffle_and_fill<width>(data, filling, -int(delta), modulo);                           \
  }                                                                                                    \
  template <typename T>                                                                                \
  METAL_FUNC T group##_shuffle_and_fill_down(T data, T filling, ushort delta, ushort modulo = width) { \
    return cpu::shuffle_and_fill<width>(data, filling, int(delta), modulo);                            \
  }
SOFTMETAL_SHUFFLES(simd, 32)
SOFTMETAL_SHUFFLES(quad, 4)
#undef SOFTMETAL_SHUFFLES

template <typename T>
METAL_FUNC T simd_broadcast_first(T data) {
  return softmetal::cpu::meet<softmetal::cpu::BroadcastFirst<T>>(data);
}

// The answer of simd_ballot and simd_active_threads_mask.
class simd_vote {
 public:
  using vote_t = ulong;
  explicit constexpr simd_vote(vote_t votes = 0) : votes_(votes) {}
  explicit constexpr operator vote_t() const { return votes_; }
  constexpr bool all() const { return votes_ == 0xFFFFFFFFul; }
  constexpr bool any() const { return votes_ != 0; }

 private:
  vote_t votes_;
};

METAL_FUNC simd_vote simd_ballot(bool value) { return simd_vote(softmetal::cpu::ballot(value)); }
METAL_FUNC simd_vote simd_active_threads_mask() { return simd_vote(softmetal::cpu::ballot(true)); }
METAL_FUNC bool simd_any(bool value) { return softmetal::cpu::ballot(value) != 0; }
METAL_FUNC bool simd_all(bool value) { return softmetal::cpu::ballot(!value) == 0; }
METAL_FUNC bool simd_is_first() {
  return static_cast<uint>(__builtin_ctz(softmetal::cpu::ballot(true))) == softmetal::cpu::current_lane();
}
METAL_FUNC constexpr bool simd_is_helper_thread() { return false; }

METAL_FUNC uint quad_votes(bool value) {
  return softmetal::cpu::ballot(value) >> (softmetal::cpu::current_lane() / cpu::quad_size * cpu::quad_size) & 0xFu;
}
METAL_FUNC bool quad_any(bool value) { return quad_votes(value) != 0; }
METAL_FUNC bool quad_all(bool value) { return quad_votes(!value) == 0; }

}  // namespace metal
