// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight, row by row. Zhang and Sennrich 2019.
//
//   x (rows, columns) float32, y float32 or bfloat, see bfloat_output.h; weight (columns,) float32, with Gemma's 1 + w
//   already added
#include "include/norm.h"

kernel void rms_norm(constant RmsNormArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                     device const float* weight [[buffer(2)]], device float* y [[buffer(3)]],
                     uint row_index [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]],
                     uint threads [[threads_per_threadgroup]], uint lane [[thread_index_in_simdgroup]],
                     uint simdgroup [[simdgroup_index_in_threadgroup]],
                     uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[MAX_SIMDGROUPS];
  ulong start = ulong(row_index) * args.columns;
  Row row = {start, args.columns, thread_index, threads, lane, simdgroup, simdgroups};
  bool is_kept = fits_registers(row);
  float4 weights = is_kept ? load_kept(row, weight) : float4(0.0f);
  wait_for_inputs();
  if (is_kept) {
    float4 values = load_kept(row, x + start);
    write_kept(row, values * (inverse_rms_of_kept(row, values, args.eps, scratch) * weights), y);
    return;
  }
  scale_row(row, x, weight, inverse_rms(row, x, args.eps, scratch), y);
}
