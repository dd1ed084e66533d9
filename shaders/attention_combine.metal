// attention_combine: the softmax over the whole context from the parts that attention_split left.
//
//   partial (rows, heads, splits, head_dim), bests and totals (rows, heads, splits), see attention_split; splits <= 32
//   sinks (heads,) float32, optional: a score that takes weight and has no value, Xiao et al. 2023, gpt-oss 2025
//   y (rows, heads, head_dim), or `rounded`, the same as rounded_rows.h has it, where head_dim is a multiple of 32;
//   log_sum_exp (rows, heads) float32: the logarithm of the softmax's denominator
//
// Grid: (heads, rows). A lane holds one part's weight; the simdgroups share the elements of the head.
#include <metal_stdlib>

#include "include/attention_split_args.h"
#include "include/rounded_rows.h"
using namespace metal;

constant bool has_sinks [[function_constant(0)]];
constant bool rounds_output [[function_constant(1)]];
constant bool keeps_floats = !rounds_output;

kernel void attention_combine(constant AttentionCombineArgs& args [[buffer(0)]],
                              device const float* partial [[buffer(1)]], device const float* bests [[buffer(2)]],
                              device const float* totals [[buffer(3)]],
                              device const float* sinks [[buffer(4), function_constant(has_sinks)]],
                              device float* y [[buffer(5), function_constant(keeps_floats)]],
                              device float* log_sum_exp [[buffer(6)]],
                              device uint4* rounded [[buffer(7), function_constant(rounds_output)]],
                              uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  ulong head = ulong(group.y) * args.heads + group.x;
  ulong first = head * args.splits;
  bool is_part = lane < args.splits;
  float part_best = is_part ? bests[first + lane] : LOWEST_ATTENTION_SCORE;
  float part_total = is_part ? totals[first + lane] : 0.0f;
  float sink = has_sinks ? sinks[group.x] : LOWEST_ATTENTION_SCORE;
  float best = max(simd_max(part_best), sink);
  float weight = is_part ? precise::exp(part_best - best) : 0.0f;
  float denominator = simd_sum(part_total * weight) + (has_sinks ? precise::exp(sink - best) : 0.0f);
  for (uint start = simdgroup * 32; start < args.head_dim; start += simdgroups * 32) {
    uint d = min(start + lane, args.head_dim - 1);
    float numerator = 0.0f;
    for (uint s = 0; s < args.splits; s++) {
      numerator += partial[(first + s) * args.head_dim + d] * simd_shuffle(weight, ushort(s));
    }
    if (rounds_output) {
      uint head_chunks = args.head_dim / ROUNDED_COLUMNS;
      store_rounded(rounded, args.heads * head_chunks, group.y, group.x * head_chunks + start / ROUNDED_COLUMNS, lane,
                    numerator / denominator);
    } else if (start + lane < args.head_dim) {
      y[head * args.head_dim + d] = numerator / denominator;
    }
  }
  if (lane == 0 && simdgroup == 0) {
    log_sum_exp[head] = best + precise::log(denominator);
  }
}
