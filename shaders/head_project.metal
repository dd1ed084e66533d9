// head_project: how far the unread half of the output matrix can reach for this hidden state.
//
//   basis (directions, columns), x (1, columns), norms (directions + HEAD_NORM_VALUES,) float32
//   projection (directions + HEAD_REACH_VALUES,) float32: the coordinates of x, then the factor of a row's bound, then
//   what rounding can add. docs/exact_head.md has the proof.
//
// One threadgroup.
#include <metal_stdlib>

#include "include/head_args.h"
using namespace metal;

kernel void head_project(constant HeadArgs& args [[buffer(0)]], device const float* basis [[buffer(1)]],
                         device const float* norms [[buffer(2)]], device const float* x [[buffer(3)]],
                         device float* projection [[buffer(4)]], uint lane [[thread_index_in_simdgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float seen[HEAD_SIMDGROUPS];
  threadgroup float weighted[HEAD_SIMDGROUPS];
  float squares = 0.0f;
  float reach = 0.0f;
  for (uint d = simdgroup; d < args.directions; d += HEAD_SIMDGROUPS) {
    float sum = 0.0f;
    for (uint j = lane; j < args.columns; j += 32) {
      sum += basis[d * args.columns + j] * x[j];
    }
    sum = simd_sum(sum);
    if (lane == 0) {
      projection[d] = sum;
    }
    squares += sum * sum;
    reach += sum * sum * norms[d];
  }
  float length = 0.0f;
  for (uint j = lane; j < args.columns; j += 32) {
    length += x[j] * x[j];
  }
  length = simd_sum(length);
  if (lane == 0) {
    seen[simdgroup] = squares;
    weighted[simdgroup] = reach;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0 && lane == 0) {
    for (uint s = 1; s < HEAD_SIMDGROUPS; s++) {
      squares += seen[s];
      reach += weighted[s];
    }
    device const float* last = norms + args.directions;
    float rest = max(length - squares, 0.0f) + 1e-4f * length;
    reach = 1.001f * sqrt(reach + rest * last[HEAD_REST_WEIGHT]);
    projection[args.directions + HEAD_REACH] = reach + sqrt(length) * last[HEAD_REACH_ERROR];
    projection[args.directions + HEAD_SLACK] = sqrt(length) * last[HEAD_ROUNDING];
  }
}
