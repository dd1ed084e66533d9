// Simdgroup, quad and threadgroup functions, one result a thread, over any number of threads.
#include <metal_stdlib>
using namespace metal;

#define SIMD_CASE(NAME, TYPE, EXPRESSION)                                                           \
  kernel void NAME(device const TYPE* x [[buffer(0)]], device TYPE* y [[buffer(1)]],                \
                   uint i [[thread_position_in_grid]], ushort lane [[thread_index_in_simdgroup]]) { \
    TYPE v = x[i];                                                                                  \
    y[i] = EXPRESSION;                                                                              \
  }

SIMD_CASE(sum_f32, float, simd_sum(v))
SIMD_CASE(sum_f16, half, simd_sum(v))
SIMD_CASE(product_i32, int, simd_product(v))
SIMD_CASE(min_i32, int, simd_min(v))
SIMD_CASE(max_f32, float, simd_max(v))
SIMD_CASE(and_u32, uint, simd_and(v))
SIMD_CASE(or_u32, uint, simd_or(v))
SIMD_CASE(xor_u32, uint, simd_xor(v))
SIMD_CASE(inclusive_i32, int, simd_prefix_inclusive_sum(v))
SIMD_CASE(exclusive_i32, int, simd_prefix_exclusive_sum(v))
SIMD_CASE(exclusive_product_i32, int, simd_prefix_exclusive_product(v))
SIMD_CASE(shuffle_i32, int, simd_shuffle(v, ushort((lane * 7) % 32)))
SIMD_CASE(shuffle_up_i32, int, simd_shuffle_up(v, 3))
SIMD_CASE(shuffle_down_i32, int, simd_shuffle_down(v, 3))
SIMD_CASE(shuffle_xor_i32, int, simd_shuffle_xor(v, 5))
SIMD_CASE(rotate_up_i32, int, simd_shuffle_rotate_up(v, 3))
SIMD_CASE(rotate_down_i32, int, simd_shuffle_rotate_down(v, 3))
SIMD_CASE(fill_up_i32, int, simd_shuffle_and_fill_up(v, -v, 3))
SIMD_CASE(fill_down_8_i32, int, simd_shuffle_and_fill_down(v, -v, 3, 8))
SIMD_CASE(broadcast_i32, int, simd_broadcast(v, 9))
SIMD_CASE(broadcast_first_i32, int, simd_broadcast_first(v))
SIMD_CASE(ballot_u32, uint, uint(ulong(simd_ballot(v % 3 == 0))))
SIMD_CASE(all_u32, uint, uint(simd_all(v > 1)) + 2 * uint(simd_any(v > 1000000)))
SIMD_CASE(quad_sum_i32, int, quad_sum(v))
SIMD_CASE(quad_broadcast_i32, int, quad_broadcast(v, 2))
SIMD_CASE(quad_scan_i32, int, quad_prefix_inclusive_sum(v))
SIMD_CASE(quad_xor_i32, int, quad_shuffle_xor(v, 1))

kernel void sum_float4(device const float4* x [[buffer(0)]], device float4* y [[buffer(1)]],
                       uint i [[thread_position_in_grid]]) {
  y[i] = simd_sum(x[i]);
}

// Reverses each threadgroup's part twice through memory of two kinds.
kernel void reverse_twice(device const int* x [[buffer(0)]], device int* y [[buffer(1)]],
                          threadgroup int* dynamic [[threadgroup(0)]], uint i [[thread_position_in_grid]],
                          uint t [[thread_index_in_threadgroup]], uint n [[threads_per_threadgroup]]) {
  constexpr int SIZE = 256;
  using Row = int;
  threadgroup Row fixed[SIZE], total;
  dynamic[t] = x[i];
  if (t == 0) total = 0;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  fixed[t] = dynamic[n - 1 - t];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = fixed[n - 1 - t] * 2 + total;
}

kernel void barrier_after_return(device int* y [[buffer(1)]], uint t [[thread_index_in_threadgroup]]) {
  if (t >= 40) return;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[t] = 1;
}

kernel void sum_after_return(device int* y [[buffer(1)]], uint t [[thread_index_in_threadgroup]]) {
  if (t % 2 == 1) return;
  y[t] = simd_sum(int(t));
}

kernel void diverged(device int* y [[buffer(1)]], uint t [[thread_index_in_threadgroup]]) {
  if (t % 32 < 16) {
    y[t] = simd_sum(1);
  } else {
    y[t] = simd_max(1);
  }
}

template <typename T>
kernel void matmul8(device const T* a [[buffer(0)]], device const T* b [[buffer(1)]], device T* c [[buffer(2)]],
                    uint lane [[thread_index_in_simdgroup]]) {
  simdgroup_matrix<T, 8, 8> left, right, transposed;
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.5f);
  for (uint k = 0; k < 16; k += 8) {
    simdgroup_load(left, a, 16, ulong2(k, 0));
    simdgroup_load(right, b + k * 8, 8);
    simdgroup_multiply_accumulate(sum, left, right, sum);
  }
  simdgroup_store(sum, c, 8, ulong2(0, 0), false);
  simdgroup_barrier(mem_flags::mem_device);
  simdgroup_load(transposed, c, 8, 0, true);
  simdgroup_store(transposed, c + 64, 8);
  c[128 + lane] = sum.thread_elements()[0];
}
template [[host_name("matmul8_f32")]] kernel decltype(matmul8<float>) matmul8<float>;
template
    [[host_name("matmul8_"
                "f16")]] kernel void
    matmul8<half>(device const half* a [[buffer(0)]], device const half* b [[buffer(1)]], device half* c [[buffer(2)]],
                  uint lane [[thread_index_in_simdgroup]]);

template <typename T, uint N>
struct Tile {
  static constant constexpr uint SIZE = N * 2;
  T first;
};

template <typename T, uint N>
[[kernel]] void tiled(device T* y [[buffer(0)]], uint t [[thread_index_in_threadgroup]]) {
  using tile = Tile<T, N>;
  threadgroup T values[tile::SIZE];
  {
    threadgroup T more[N];
    values[t] = T(t);
    more[t % N] = T(1);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[t] = values[(t + 1) % tile::SIZE] + more[0];
  }
}
template [[host_name("tiled_half_32")]] [[kernel]] void tiled<half, 32>(device half*, uint);
