// norm_round: the norm of a few rows, rounded for the products that follow; a branch may be added first.
//
//   x, branch (rows, columns) float32; post_weight, of the branch's own norm, and weight (columns,) float32; stream,
//   the sum of x and the branch, (rows, columns) float32, may be x itself; rounded: see rounded_rows.h. Columns: a
//   multiple of 32, at most 8 a thread.
//
// Grid: (rows), any number of whole simdgroups. A simdgroup's lanes have the columns of a chunk, so they round it.
#include "include/early_start.h"
#include "include/reduce.h"
#include "include/rounded_rows.h"
#include "include/rounded_rows_args.h"

constant bool has_branch [[function_constant(0)]];
constant bool has_post_norm [[function_constant(1)]];  // of the branch
constant uint norm_columns [[function_constant(2)]];
constant uint norm_threads [[function_constant(3)]];
constant constexpr uint KEPT = 8;  // values of a thread

struct KeptRow {
  float values[KEPT];
};

inline void load_kept(device const float* x, uint thread_index, thread KeptRow& row) {
  for (uint i = 0; i < KEPT; i++) {
    uint column = thread_index + i * norm_threads;
    row.values[i] = i * norm_threads < norm_columns && column < norm_columns ? x[column] : 0.0f;
  }
}

inline float inverse_rms(thread const KeptRow& row, float eps, threadgroup float* scratch, uint lane, uint simdgroup) {
  float sum = 0.0f;
  for (uint i = 0; i < KEPT; i++) {
    sum += row.values[i] * row.values[i];
  }
  return precise::rsqrt(threadgroup_sum(sum, scratch, lane, simdgroup, norm_threads / 32) / float(norm_columns) + eps);
}

kernel void norm_round(constant NormRoundArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                       device const float* weight [[buffer(2)]],
                       device const float* branch [[buffer(3), function_constant(has_branch)]],
                       device const float* post_weight [[buffer(4), function_constant(has_post_norm)]],
                       device float* stream [[buffer(5), function_constant(has_branch)]],
                       device uint4* rounded [[buffer(6)]], uint row_index [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float branch_scratch[MAX_SIMDGROUPS];
  threadgroup float scratch[MAX_SIMDGROUPS];
  ulong start = ulong(row_index) * norm_columns;
  KeptRow weights;
  KeptRow post_weights;
  load_kept(weight, thread_index, weights);
  if (has_post_norm) {
    load_kept(post_weight, thread_index, post_weights);
  }
  wait_for_inputs();
  KeptRow row;
  load_kept(x + start, thread_index, row);
  if (has_branch) {
    KeptRow added;
    load_kept(branch + start, thread_index, added);
    float scale = has_post_norm ? inverse_rms(added, args.eps, branch_scratch, lane, simdgroup) : 1.0f;
    for (uint i = 0; i < KEPT; i++) {
      uint column = thread_index + i * norm_threads;
      row.values[i] += has_post_norm ? added.values[i] * scale * post_weights.values[i] : added.values[i];
      if (i * norm_threads < norm_columns && column < norm_columns) {
        stream[start + column] = row.values[i];
      }
    }
  }
  float scale = inverse_rms(row, args.eps, scratch, lane, simdgroup);
  for (uint i = 0; i < KEPT; i++) {
    uint column = thread_index + i * norm_threads;
    if (i * norm_threads < norm_columns && column < norm_columns) {
      store_rounded(rounded, norm_columns / ROUNDED_COLUMNS, row_index, column / ROUNDED_COLUMNS, lane,
                    row.values[i] * scale * weights.values[i]);
    }
  }
}
