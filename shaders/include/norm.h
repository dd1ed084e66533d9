// What the RMSNorm kernels share: one threadgroup a row, any number of whole simdgroups, float32 throughout.
#pragma once

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

inline void scale_row(thread const Row& row, device const float* x, device const float* weight, float scale,
                      device float* y) {
  for (uint i = row.thread_index; i < row.columns; i += row.threads) {
    y[i] = x[i] * scale * weight[i];
  }
}
