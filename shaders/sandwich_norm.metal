// sandwich_norm: x += rms_norm(branch, post_weight), then y = rms_norm(x, weight).
//
// Gemma norms a branch before adding it to the residual stream and norms the stream again for the next branch.
//   x (updated in place), branch, y (rows, columns) float32; post_weight, weight (columns,) float32
#include "include/norm.h"

kernel void sandwich_norm(constant RmsNormArgs& args [[buffer(0)]], device float* x [[buffer(1)]],
                          device const float* branch [[buffer(2)]], device const float* post_weight [[buffer(3)]],
                          device const float* weight [[buffer(4)]], device float* y [[buffer(5)]],
                          uint row_index [[threadgroup_position_in_grid]],
                          uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                          uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                          uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float branch_scratch[MAX_SIMDGROUPS];
  threadgroup float scratch[MAX_SIMDGROUPS];
  Row row = {args.columns, thread_index, threads, lane, simdgroup, simdgroups};
  ulong start = ulong(row_index) * args.columns;
  float scale = inverse_rms(row, branch + start, args.eps, branch_scratch);
  for (uint i = thread_index; i < args.columns; i += threads) {
    x[start + i] += branch[start + i] * scale * post_weight[i];
  }
  scale_row(row, x + start, weight, inverse_rms(row, x + start, args.eps, scratch), y + start);
}
