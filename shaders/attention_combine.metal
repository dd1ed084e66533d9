// attention_combine: the softmax over the whole context from the parts that attention_split left.
//
//   partial (rows, heads, splits, head_dim), bests and totals (rows, heads, splits), see attention_split
//   sinks (heads,) float32, optional: a score that takes weight and has no value, Xiao et al. 2023, gpt-oss 2025
//   y (rows, heads, head_dim), log_sum_exp (rows, heads) float32: the logarithm of the softmax's denominator
//
// Grid: (heads, rows), any number of threads.
#include <metal_stdlib>

#include "include/attention_split_args.h"
using namespace metal;

constant bool has_sinks [[function_constant(0)]];

kernel void attention_combine(constant AttentionCombineArgs& args [[buffer(0)]],
                              device const float* partial [[buffer(1)]], device const float* bests [[buffer(2)]],
                              device const float* totals [[buffer(3)]],
                              device const float* sinks [[buffer(4), function_constant(has_sinks)]],
                              device float* y [[buffer(5)]], device float* log_sum_exp [[buffer(6)]],
                              uint2 group [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]],
                              uint threads [[threads_per_threadgroup]]) {
  ulong head = ulong(group.y) * args.heads + group.x;
  ulong first = head * args.splits;
  float best = has_sinks ? sinks[group.x] : LOWEST_ATTENTION_SCORE;
  for (uint s = 0; s < args.splits; s++) {
    best = max(best, bests[first + s]);
  }
  float denominator = has_sinks ? precise::exp(sinks[group.x] - best) : 0.0f;
  for (uint s = 0; s < args.splits; s++) {
    denominator += totals[first + s] * precise::exp(bests[first + s] - best);
  }
  for (uint d = thread_index; d < args.head_dim; d += threads) {
    float numerator = 0.0f;
    for (uint s = 0; s < args.splits; s++) {
      numerator += partial[(first + s) * args.head_dim + d] * precise::exp(bests[first + s] - best);
    }
    y[head * args.head_dim + d] = numerator / denominator;
  }
  if (thread_index == 0) {
    log_sum_exp[head] = best + precise::log(denominator);
  }
}
