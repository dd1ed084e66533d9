// <metal_atomic> over CUDA's atomic functions: relaxed atomics of int, uint, ulong, bool and float.
#pragma once

#include "../metal_cpu/scalar.h"

namespace metal {

enum memory_order {
  memory_order_relaxed,
  memory_order_acquire,
  memory_order_release,
  memory_order_acq_rel,
  memory_order_seq_cst
};
enum thread_scope { thread_scope_thread, thread_scope_simdgroup, thread_scope_threadgroup, thread_scope_device };

template <typename T>
struct atomic {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "atomics have 4 or 8 bytes");
  T value;
};

// A bool fills a word, which is what compare-and-swap works on.
template <>
struct atomic<bool> {
  uint value;
};

using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_bool = atomic<bool>;
using atomic_float = atomic<float>;
using atomic_ulong = atomic<ulong>;

namespace cpu {

template <typename T>
struct Identity {
  using type = T;
};
template <typename T>
using same = typename Identity<T>::type;

// The unsigned integers that compare-and-swap takes.
template <typename T>
using word = std::conditional_t<sizeof(atomic<T>) == 8, unsigned long long, unsigned int>;

template <typename T>
METAL_FUNC word<T>* address(const volatile atomic<T>* object) {
  return reinterpret_cast<word<T>*>(const_cast<atomic<T>*>(object));
}
template <typename T>
METAL_FUNC word<T> to_word(T value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? 1u : 0u;
  } else {
    return __builtin_bit_cast(word<T>, value);
  }
}
template <typename T>
METAL_FUNC T from_word(word<T> value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value != 0;
  } else {
    return __builtin_bit_cast(T, value);
  }
}

// value = change(value), and gives back the value before.
template <typename T, typename F>
METAL_FUNC T update(const volatile atomic<T>* object, F change) {
  word<T>* place = address(object);
  word<T> before = *static_cast<volatile word<T>*>(place);
  for (;;) {
    const word<T> seen = ::atomicCAS(place, before, to_word<T>(change(from_word<T>(before))));
    if (seen == before) return from_word<T>(before);
    before = seen;
  }
}

}  // namespace cpu

template <typename T>
METAL_FUNC void atomic_store_explicit(volatile atomic<T>* object, cpu::same<T> desired, memory_order) {
  *static_cast<volatile cpu::word<T>*>(cpu::address(object)) = cpu::to_word<T>(desired);
}
template <typename T>
METAL_FUNC T atomic_load_explicit(const volatile atomic<T>* object, memory_order) {
  return cpu::from_word<T>(*static_cast<volatile cpu::word<T>*>(cpu::address(object)));
}
template <typename T>
METAL_FUNC T atomic_exchange_explicit(volatile atomic<T>* object, cpu::same<T> desired, memory_order) {
  return cpu::from_word<T>(::atomicExch(cpu::address(object), cpu::to_word<T>(desired)));
}
template <typename T>
METAL_FUNC bool atomic_compare_exchange_weak_explicit(volatile atomic<T>* object, T* expected, cpu::same<T> desired,
                                                      memory_order, memory_order) {
  const cpu::word<T> wanted = cpu::to_word<T>(*expected);
  const cpu::word<T> seen = ::atomicCAS(cpu::address(object), wanted, cpu::to_word<T>(desired));
  *expected = cpu::from_word<T>(seen);
  return seen == wanted;
}

#define SOFTMETAL_FETCH(name, expression)                                                                 \
  template <typename T>                                                                                   \
  METAL_FUNC T atomic_fetch_##name##_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) { \
    return cpu::update(object, [=](T before) { return static_cast<T>(expression); });                     \
  }
SOFTMETAL_FETCH(sub, before - x)
SOFTMETAL_FETCH(min, x < before ? x : before)
SOFTMETAL_FETCH(max, before < x ? x : before)
SOFTMETAL_FETCH(and, before& x)
SOFTMETAL_FETCH(or, before | x)
SOFTMETAL_FETCH(xor, before ^ x)
#undef SOFTMETAL_FETCH

// The GPU adds in one instruction.
template <typename T>
METAL_FUNC T atomic_fetch_add_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) {
  if constexpr (std::is_same_v<T, float>) {
    return ::atomicAdd(reinterpret_cast<float*>(cpu::address(object)), x);
  } else {
    return cpu::from_word<T>(::atomicAdd(cpu::address(object), cpu::to_word<T>(x)));
  }
}

template <typename T>
METAL_FUNC void atomic_min_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order order) {
  atomic_fetch_min_explicit(object, x, order);
}
template <typename T>
METAL_FUNC void atomic_max_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order order) {
  atomic_fetch_max_explicit(object, x, order);
}

// Orders all memory, whatever the flags name.
template <typename Flags>
METAL_FUNC void atomic_thread_fence(Flags, memory_order, thread_scope = thread_scope_device) {
  __threadfence();
}

}  // namespace metal
