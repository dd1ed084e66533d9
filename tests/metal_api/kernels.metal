// Small kernels that show whether a Metal implementation binds, indexes and orders as it should.
#include <metal_stdlib>
using namespace metal;

struct LineArgs {
  float scale;
  float shift;
};

kernel void line(constant LineArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                 device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  y[i] = x[i] * args.scale + args.shift;
}

// Not commutative with line in place: shows the order of execution.
kernel void triple_plus_one(device uint* values [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  values[i] = values[i] * 3u + 1u;
}

kernel void add_in_place(device uint* values [[buffer(0)]], constant uint& amount [[buffer(1)]],
                         uint i [[thread_position_in_grid]]) {
  values[i] += amount;
}

// values[i + 1] = values[i] + 1, one element a dispatch: a chain that shows any missing order.
kernel void link_of_chain(device uint* values [[buffer(0)]], constant uint& at [[buffer(1)]]) {
  values[at + 1u] = values[at] + 1u;
}

kernel void coordinates(device uint* out [[buffer(0)]], uint3 place [[thread_position_in_grid]],
                        uint3 size [[threads_per_grid]]) {
  out[(place.z * size.y + place.y) * size.x + place.x] = place.x + 1000u * place.y + 1000000u * place.z;
}

kernel void group_shape(device uint* out [[buffer(0)]], uint3 place [[thread_position_in_grid]],
                        uint3 size [[threads_per_grid]], uint3 group [[threadgroup_position_in_grid]],
                        uint3 threads [[threads_per_threadgroup]], uint index [[thread_index_in_threadgroup]]) {
  uint at = ((place.z * size.y + place.y) * size.x + place.x) * 3u;
  out[at] = group.x + 100u * group.y + 10000u * group.z;
  out[at + 1u] = threads.x + 100u * threads.y + 10000u * threads.z;
  out[at + 2u] = index;
}

kernel void reverse_static(device uint* values [[buffer(0)]], uint i [[thread_position_in_grid]],
                           uint index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  threadgroup uint shared_values[128];
  shared_values[index] = values[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  values[i] = shared_values[threads - 1u - index];
}

kernel void reverse_dynamic(device uint* values [[buffer(0)]], threadgroup uint* shared_values [[threadgroup(0)]],
                            uint i [[thread_position_in_grid]], uint index [[thread_index_in_threadgroup]],
                            uint threads [[threads_per_threadgroup]]) {
  shared_values[index] = values[i];
  threadgroup_barrier(mem_flags::mem_threadgroup);
  values[i] = shared_values[threads - 1u - index];
}

kernel void simd_totals(device const uint* values [[buffer(0)]], device uint* sums [[buffer(1)]],
                        device uint* largest [[buffer(2)]], device uint* next [[buffer(3)]],
                        uint i [[thread_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  sums[i] = simd_sum(values[i]);
  largest[i] = simd_max(values[i]);
  next[i] = simd_shuffle_xor(values[i], ushort(1)) + lane;
}

// Threads of one group wait at barriers that the others never reach.
kernel void uneven_barrier(device uint* values [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  if (i % 64u < 32u) {
    threadgroup_barrier(mem_flags::mem_threadgroup);
  } else {
    values[i] = simd_sum(values[i]);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  values[i] += 1u;
}

kernel void large_memory(device uint* values [[buffer(0)]], threadgroup uint* more [[threadgroup(0)]],
                         uint i [[thread_position_in_grid]], uint index [[thread_index_in_threadgroup]]) {
  threadgroup uint first[6000];
  first[index] = values[i];
  more[index] = first[index];
  values[i] = more[index];
}
