// Sums over a threadgroup of whole simdgroups.
#pragma once

#include <metal_stdlib>
using namespace metal;

constant constexpr uint MAX_SIMDGROUPS = 32;

// Every thread gets the sum of `value` over the threadgroup. `scratch` holds MAX_SIMDGROUPS floats; it may be reused
// after the next barrier.
inline float threadgroup_sum(float value, threadgroup float* scratch, uint lane, uint simdgroup, uint simdgroups) {
  float partial = simd_sum(value);
  if (lane == 0) {
    scratch[simdgroup] = partial;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return simd_sum(lane < simdgroups ? scratch[lane] : 0.0f);
}
