// What the RMSNorm kernels share: one threadgroup a row, any number of whole simdgroups, float32 throughout; what
// products read may be bfloat.
#pragma once

#include "bfloat_output.h"
#include "early_start.h"
#include "norm_args.h"
#include "reduce.h"

struct Row {
  ulong start;  // of the row's elements
  uint columns;
  uint thread_index;
  uint threads;
  uint lane;
  uint simdgroup;
  uint simdgroups;
};

inline float inverse_rms(thread const Row& row, device const float* x, float eps, threadgroup float* scratch) {
  float sum = 0.0f;
  for (uint i = row.thread_index; i < row.columns; i += row.threads) {
    sum += x[row.start + i] * x[row.start + i];
  }
  float total = threadgroup_sum(sum, scratch, row.lane, row.simdgroup, row.simdgroups);
  return precise::rsqrt(total / float(row.columns) + eps);
}

// Rows of whole vectors, one a thread, are read once and stay in registers.
inline bool fits_registers(thread const Row& row) { return row.columns % 4 == 0 && row.columns <= row.threads * 4; }

inline bool keeps_some(thread const Row& row) { return row.thread_index * 4 < row.columns; }

// This thread's values of what begins at x; zeros beyond the row.
inline float4 load_kept(thread const Row& row, device const float* x) {
  return keeps_some(row) ? ((device const float4*)x)[row.thread_index] : float4(0.0f);
}

inline float inverse_rms_of_kept(thread const Row& row, float4 values, float eps, threadgroup float* scratch) {
  float total = threadgroup_sum(dot(values, values), scratch, row.lane, row.simdgroup, row.simdgroups);
  return precise::rsqrt(total / float(row.columns) + eps);
}

inline void store_kept(thread const Row& row, float4 values, device float* x) {
  if (keeps_some(row)) {
    ((device float4*)x)[row.thread_index] = values;
  }
}

// Into the row of y, the norm's result.
inline void write_kept(thread const Row& row, float4 values, device float* y) {
  if (keeps_some(row)) {
    write_four(y, row.start + row.thread_index * 4, values);
  }
}

inline void scale_row(thread const Row& row, device const float* x, device const float* weight, float scale,
                      device float* y) {
  for (uint i = row.thread_index; i < row.columns; i += row.threads) {
    write_output(y, row.start + i, x[row.start + i] * scale * weight[i]);
  }
}
