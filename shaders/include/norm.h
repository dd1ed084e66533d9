// What the RMSNorm kernels share: one threadgroup a row, any number of whole simdgroups, float32 throughout.
#pragma once

#include "early_start.h"
#include "norm_args.h"
#include "reduce.h"

struct Row {
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
    sum += x[i] * x[i];
  }
  float total = threadgroup_sum(sum, scratch, row.lane, row.simdgroup, row.simdgroups);
  return precise::rsqrt(total / float(row.columns) + eps);
}

// Rows of up to this many values a thread are read once and stay in registers.
constant constexpr uint KEPT_VALUES = 4;

inline bool fits_registers(thread const Row& row) { return row.columns <= row.threads * KEPT_VALUES; }

// This thread's values of a row; zeros beyond it.
inline void load_kept(thread const Row& row, device const float* x, thread float* values) {
  for (uint i = 0; i < KEPT_VALUES; i++) {
    uint column = row.thread_index + i * row.threads;
    values[i] = column < row.columns ? x[column] : 0.0f;
  }
}

inline float inverse_rms_of_kept(thread const Row& row, thread const float* values, float eps,
                                 threadgroup float* scratch) {
  float sum = 0.0f;
  for (uint i = 0; i < KEPT_VALUES; i++) {
    sum += values[i] * values[i];
  }
  float total = threadgroup_sum(sum, scratch, row.lane, row.simdgroup, row.simdgroups);
  return precise::rsqrt(total / float(row.columns) + eps);
}

inline void store_kept(thread const Row& row, thread const float* values, device float* y) {
  for (uint i = 0; i < KEPT_VALUES; i++) {
    uint column = row.thread_index + i * row.threads;
    if (column < row.columns) {
      y[column] = values[i];
    }
  }
}

inline void scale_row(thread const Row& row, device const float* x, device const float* weight, float scale,
                      device float* y) {
  for (uint i = row.thread_index; i < row.columns; i += row.threads) {
    y[i] = x[i] * scale * weight[i];
  }
}
