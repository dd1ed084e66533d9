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
  float post_weights[KEPT_VALUES];
  float weights[KEPT_VALUES];
  bool is_kept = fits_registers(row);
  if (is_kept) {
    load_kept(row, post_weight, post_weights);
    load_kept(row, weight, weights);
  }
  wait_for_inputs();
  if (is_kept) {
    float values[KEPT_VALUES];
    float branches[KEPT_VALUES];
    load_kept(row, x + start, values);
    load_kept(row, branch + start, branches);
    float branch_scale = inverse_rms_of_kept(row, branches, args.eps, branch_scratch);
    for (uint i = 0; i < KEPT_VALUES; i++) {
      values[i] += branches[i] * branch_scale * post_weights[i];
    }
    store_kept(row, values, x + start);
    float scale = inverse_rms_of_kept(row, values, args.eps, scratch);
    for (uint i = 0; i < KEPT_VALUES; i++) {
      values[i] *= scale * weights[i];
    }
    store_kept(row, values, y + start);
    return;
  }
  float scale = inverse_rms(row, branch + start, args.eps, branch_scratch);
  for (uint i = thread_index; i < args.columns; i += threads) {
    x[start + i] += branch[start + i] * scale * post_weight[i];
  }
  scale_row(row, x + start, weight, inverse_rms(row, x + start, args.eps, scratch), y + start);
}
