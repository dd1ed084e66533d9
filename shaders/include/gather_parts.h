// Sums of simdgroups that share the columns of the same outputs: the parts of a threadgroup's products added up.
#pragma once

#include <metal_stdlib>
using namespace metal;

// Simdgroup `part` of `parts` that follow one another has a share of COUNT sums in its lanes. Afterwards lane i < COUNT
// of each first part has sum i; the others have nothing. `scratch` holds COUNT floats for each simdgroup.
template <uint COUNT>
inline float gather_parts(thread const float* sums, uint lane, uint simdgroup, uint part, uint parts,
                          threadgroup float* scratch) {
  for (uint i = 0; i < COUNT; i++) {
    float total = simd_sum(sums[i]);
    if (lane == 0) {
      scratch[simdgroup * COUNT + i] = total;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float total = 0.0f;
  if (lane < COUNT && part == 0) {
    for (uint i = 0; i < parts; i++) {
      total += scratch[(simdgroup + i) * COUNT + lane];
    }
  }
  return total;
}
