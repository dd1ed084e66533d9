// <metal_atomic>: atomics of int, uint, ulong, bool and float. Threadgroups run on several OS threads, so these are
// real.
#pragma once

#include "scalar.h"

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
  static_assert(std::is_arithmetic_v<T>);
  T value;
};

using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_bool = atomic<bool>;
using atomic_float = atomic<float>;
using atomic_ulong = atomic<ulong>;

namespace cpu {

// The address without volatile, which the compiler's atomic operations do not need.
template <typename T>
METAL_FUNC T* address(const volatile atomic<T>* object) {
  return &const_cast<atomic<T>*>(object)->value;
}

template <typename T>
METAL_FUNC T load_relaxed(T* place) {
  T value;
  __atomic_load(place, &value, __ATOMIC_RELAXED);
  return value;
}

template <typename T>
METAL_FUNC bool replace_if(T* place, T& expected, T desired, bool weak) {
  return __atomic_compare_exchange(place, &expected, &desired, weak, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

// value = change(value), and gives back the value before.
template <typename T, typename F>
METAL_FUNC T update(const volatile atomic<T>* object, F change) {
  T* place = address(object);
  T before = load_relaxed(place);
  while (!replace_if(place, before, change(before), true)) {
  }
  return before;
}

template <typename T>
struct Identity {
  using type = T;
};
template <typename T>
using same = typename Identity<T>::type;

}  // namespace cpu

template <typename T>
METAL_FUNC void atomic_store_explicit(volatile atomic<T>* object, cpu::same<T> desired, memory_order) {
  __atomic_store(cpu::address(object), &desired, __ATOMIC_RELAXED);
}
template <typename T>
METAL_FUNC T atomic_load_explicit(const volatile atomic<T>* object, memory_order) {
  return cpu::load_relaxed(cpu::address(object));
}
template <typename T>
METAL_FUNC T atomic_exchange_explicit(volatile atomic<T>* object, cpu::same<T> desired, memory_order) {
  T before;
  __atomic_exchange(cpu::address(object), &desired, &before, __ATOMIC_RELAXED);
  return before;
}
template <typename T>
METAL_FUNC bool atomic_compare_exchange_weak_explicit(volatile atomic<T>* object, T* expected, cpu::same<T> desired,
                                                      memory_order, memory_order) {
  return cpu::replace_if(cpu::address(object), *expected, desired, true);
}

#define SOFTMETAL_FETCH(name, builtin, expression)                                                        \
  template <typename T>                                                                                   \
  METAL_FUNC T atomic_fetch_##name##_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) { \
    if constexpr (std::is_floating_point_v<T>) {                                                          \
      return cpu::update(object, [=](T before) { return expression; });                                   \
    } else {                                                                                              \
      return builtin(cpu::address(object), x, __ATOMIC_RELAXED);                                          \
    }                                                                                                     \
  }
SOFTMETAL_FETCH(add, __atomic_fetch_add, before + x)
SOFTMETAL_FETCH(sub, __atomic_fetch_sub, before - x)
#undef SOFTMETAL_FETCH

#define SOFTMETAL_FETCH(name, expression)                                                                 \
  template <typename T>                                                                                   \
  METAL_FUNC T atomic_fetch_##name##_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) { \
    return cpu::update(object, [=](T before) { return static_cast<T>(expression); });                     \
  }                                                                                                       \
  template <typename T>                                                                                   \
  METAL_FUNC void atomic_##name##_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) {    \
    cpu::update(object, [=](T before) { return static_cast<T>(expression); });                            \
  }
SOFTMETAL_FETCH(min, x < before ? x : before)
SOFTMETAL_FETCH(max, before < x ? x : before)
#undef SOFTMETAL_FETCH

#define SOFTMETAL_FETCH(name, builtin)                                                                    \
  template <typename T>                                                                                   \
  METAL_FUNC T atomic_fetch_##name##_explicit(volatile atomic<T>* object, cpu::same<T> x, memory_order) { \
    static_assert(std::is_integral_v<T>);                                                                 \
    return builtin(cpu::address(object), x, __ATOMIC_RELAXED);                                            \
  }
SOFTMETAL_FETCH(and, __atomic_fetch_and)
SOFTMETAL_FETCH(or, __atomic_fetch_or)
SOFTMETAL_FETCH(xor, __atomic_fetch_xor)
#undef SOFTMETAL_FETCH

// Orders all memory, whatever the flags name.
template <typename Flags>
METAL_FUNC void atomic_thread_fence(Flags, memory_order, thread_scope = thread_scope_device) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace metal
