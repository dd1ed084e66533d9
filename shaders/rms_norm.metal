// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight, row by row. Zhang and Sennrich 2019.
//
//   x, y (rows, columns) float32; weight (columns,) float32, with Gemma's 1 + w already added
#include "include/norm.h"

kernel void rms_norm(constant RmsNormArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                     device const float* weight [[buffer(2)]], device float* y [[buffer(3)]],
                     uint row_index [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                     uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[MAX_SIMDGROUPS];
  Row row = {args.columns, thread_index, threads, lane, simdgroup, simdgroups};
  ulong start = ulong(row_index) * args.columns;
  float weights[KEPT_VALUES];
  bool is_kept = fits_registers(row);
  if (is_kept) {
    load_kept(row, weight, weights);
  }
  wait_for_inputs();
  if (is_kept) {
    float values[KEPT_VALUES];
    load_kept(row, x + start, values);
    float scale = inverse_rms_of_kept(row, values, args.eps, scratch);
    for (uint i = 0; i < KEPT_VALUES; i++) {
      values[i] *= scale * weights[i];
    }
    store_kept(row, values, y + start);
    return;
  }
  scale_row(row, x + start, weight, inverse_rms(row, x + start, args.eps, scratch), y + start);
}
