// add_rms_norm: x += branch, then y = rms_norm(x, weight): a residual add and the next norm in one pass.
//
//   x (the residual stream, updated in place), branch, y (rows, columns) float32; weight (columns,) float32
#include "include/norm.h"

kernel void add_rms_norm(constant RmsNormArgs& args [[buffer(0)]], device float* x [[buffer(1)]],
                         device const float* branch [[buffer(2)]], device const float* weight [[buffer(3)]],
                         device float* y [[buffer(4)]], uint row_index [[threadgroup_position_in_grid]],
                         uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                         uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                         uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[MAX_SIMDGROUPS];
  Row row = {args.columns, thread_index, threads, lane, simdgroup, simdgroups};
  ulong start = ulong(row_index) * args.columns;
  // Each thread later reads back only what it wrote here.
  for (uint i = thread_index; i < args.columns; i += threads) {
    x[start + i] += branch[start + i];
  }
  scale_row(row, x + start, weight, inverse_rms(row, x + start, args.eps, scratch), y + start);
}
