// <metal_compute>, <metal_simdgroup>, <metal_simdgroup_matrix>, <metal_quadgroup> and <metal_atomic> as declarations.
#pragma once

#include "metal_functions.h"

namespace metal {

enum class mem_flags {
  mem_none = 0,
  mem_device = 1,
  mem_threadgroup = 2,
  mem_texture = 4,
  mem_threadgroup_imageblock = 8
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(int(a) | int(b)); }
enum memory_order { memory_order_relaxed, memory_order_seq_cst };
enum thread_scope { thread_scope_thread, thread_scope_threadgroup, thread_scope_device };

void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
void atomic_thread_fence(mem_flags, memory_order, thread_scope = thread_scope_device);

namespace detail {
// Simdgroup functions take numbers of at most 32 bits and vectors of them.
template <typename T>
struct is_lane_value
    : bool_constant<is_arithmetic<element<T>>::value && !is_same<element<T>, bool>::value && sizeof(element<T>) <= 4> {
};
template <typename T>
using if_lane = enable_if_t<is_lane_value<T>::value>;
}  // namespace detail
template <typename T>
struct __is_valid_simdgroup_type : detail::is_lane_value<T> {};

#define MSL_SHIM_GROUP_1(name)                         \
  template <typename T, typename = detail::if_lane<T>> \
  T simd_##name(T);                                    \
  template <typename T, typename = detail::if_lane<T>> \
  T quad_##name(T)
#define MSL_SHIM_GROUP_LANE(name)                      \
  template <typename T, typename = detail::if_lane<T>> \
  T simd_##name(T, ushort);                            \
  template <typename T, typename = detail::if_lane<T>> \
  T quad_##name(T, ushort)
MSL_SHIM_GROUP_1(sum);
MSL_SHIM_GROUP_1(product);
MSL_SHIM_GROUP_1(min);
MSL_SHIM_GROUP_1(max);
MSL_SHIM_GROUP_1(and);
MSL_SHIM_GROUP_1(or);
MSL_SHIM_GROUP_1(xor);
MSL_SHIM_GROUP_1(broadcast_first);
MSL_SHIM_GROUP_1(prefix_inclusive_sum);
MSL_SHIM_GROUP_1(prefix_exclusive_sum);
MSL_SHIM_GROUP_1(prefix_inclusive_product);
MSL_SHIM_GROUP_1(prefix_exclusive_product);
MSL_SHIM_GROUP_LANE(broadcast);
MSL_SHIM_GROUP_LANE(shuffle);
MSL_SHIM_GROUP_LANE(shuffle_up);
MSL_SHIM_GROUP_LANE(shuffle_down);
MSL_SHIM_GROUP_LANE(shuffle_xor);
MSL_SHIM_GROUP_LANE(shuffle_rotate_up);
MSL_SHIM_GROUP_LANE(shuffle_rotate_down);
template <typename T>
T simd_shuffle_and_fill_up(T, T, ushort);
template <typename T>
T simd_shuffle_and_fill_up(T, T, ushort, ushort);
template <typename T>
T simd_shuffle_and_fill_down(T, T, ushort);
template <typename T>
T simd_shuffle_and_fill_down(T, T, ushort, ushort);
struct simd_vote {
  typedef ulong vote_t;
  explicit simd_vote(vote_t);
  explicit operator vote_t() const;
  bool all() const;
  bool any() const;
};
simd_vote simd_ballot(bool);
simd_vote simd_active_threads_mask();
bool simd_all(bool);
bool simd_any(bool);
bool simd_is_first();
bool simd_is_helper_thread();
bool quad_all(bool);
bool quad_any(bool);
bool quad_is_first();

template <typename T, int Columns, int Rows>
struct simdgroup_matrix {
  static_assert(Columns == 8 && Rows == 8, "simdgroup_matrix is 8 by 8");
  static_assert(is_floating_point<T>::value, "simdgroup_matrix holds half, bfloat or float");
  simdgroup_matrix() = default;
  explicit simdgroup_matrix(T);
  thread vec<T, 2>& thread_elements();
  const thread vec<T, 2>& thread_elements() const;
};
typedef simdgroup_matrix<float, 8, 8> simdgroup_float8x8;
typedef simdgroup_matrix<half, 8, 8> simdgroup_half8x8;
typedef simdgroup_matrix<bfloat, 8, 8> simdgroup_bfloat8x8;

#define MSL_SHIM_MATRIX_SPACE(space)                                                                                  \
  template <typename T>                                                                                               \
  void simdgroup_load(thread simdgroup_matrix<T, 8, 8>&, const space T*, ulong = 8, ulong2 = ulong2{}, bool = false); \
  template <typename T>                                                                                               \
  void simdgroup_store(simdgroup_matrix<T, 8, 8>, space T*, ulong = 8, ulong2 = ulong2{}, bool = false)
MSL_SHIM_MATRIX_SPACE(device);
MSL_SHIM_MATRIX_SPACE(threadgroup);
template <typename T, int Columns, int Rows = Columns>
simdgroup_matrix<T, Columns, Rows> make_filled_simdgroup_matrix(T);
template <typename D, typename A, typename B>
void simdgroup_multiply(thread simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>, simdgroup_matrix<B, 8, 8>);
template <typename D, typename A, typename B, typename C>
void simdgroup_multiply_accumulate(thread simdgroup_matrix<D, 8, 8>&, simdgroup_matrix<A, 8, 8>,
                                   simdgroup_matrix<B, 8, 8>, simdgroup_matrix<C, 8, 8>);
template <typename T>
simdgroup_matrix<T, 8, 8> operator*(simdgroup_matrix<T, 8, 8>, simdgroup_matrix<T, 8, 8>);

template <typename T>
struct atomic {
  T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<bool> atomic_bool;
typedef atomic<float> atomic_float;
typedef atomic<ulong> atomic_ulong;

namespace detail {
template <typename T>
struct same_type {
  typedef T type;
};
}  // namespace detail
template <typename T>
using if_atomic_number = enable_if_t<is_same<T, int>::value || is_same<T, uint>::value || is_same<T, float>::value>;
template <typename T>
using if_atomic_integer = enable_if_t<is_same<T, int>::value || is_same<T, uint>::value>;
#define MSL_SHIM_ATOMIC_FETCH(space, name, which)        \
  template <typename T, typename = if_atomic_##which<T>> \
  T atomic_fetch_##name##_explicit(volatile space atomic<T>*, typename detail::same_type<T>::type, memory_order)
#define MSL_SHIM_ATOMICS(space)                                                                             \
  MSL_SHIM_ATOMIC_FETCH(space, add, number);                                                                \
  MSL_SHIM_ATOMIC_FETCH(space, sub, number);                                                                \
  MSL_SHIM_ATOMIC_FETCH(space, min, integer);                                                               \
  MSL_SHIM_ATOMIC_FETCH(space, max, integer);                                                               \
  MSL_SHIM_ATOMIC_FETCH(space, and, integer);                                                               \
  MSL_SHIM_ATOMIC_FETCH(space, or, integer);                                                                \
  MSL_SHIM_ATOMIC_FETCH(space, xor, integer);                                                               \
  template <typename T>                                                                                     \
  T atomic_load_explicit(const volatile space atomic<T>*, memory_order);                                    \
  template <typename T>                                                                                     \
  void atomic_store_explicit(volatile space atomic<T>*, typename detail::same_type<T>::type, memory_order); \
  template <typename T>                                                                                     \
  T atomic_exchange_explicit(volatile space atomic<T>*, typename detail::same_type<T>::type, memory_order); \
  template <typename T>                                                                                     \
  bool atomic_compare_exchange_weak_explicit(volatile space atomic<T>*, thread T*,                          \
                                             typename detail::same_type<T>::type, memory_order, memory_order)
MSL_SHIM_ATOMICS(device);
MSL_SHIM_ATOMICS(threadgroup);
template <typename = void>
void atomic_min_explicit(volatile device atomic<ulong>*, ulong, memory_order);
template <typename = void>
void atomic_max_explicit(volatile device atomic<ulong>*, ulong, memory_order);

}  // namespace metal
