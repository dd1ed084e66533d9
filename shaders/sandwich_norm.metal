// sandwich_norm: x += rms_norm(branch, post_weight), then y = rms_norm(x, weight).
//
// Gemma norms a branch before adding it to the residual stream and norms the stream again for the next branch.
//   x (updated in place), branch (rows, columns) float32; y alike or bfloat, see bfloat_output.h; post_weight, weight
//   (columns,) float32
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
  ulong start = ulong(row_index) * args.columns;
  Row row = {start, args.columns, thread_index, threads, lane, simdgroup, simdgroups};
  bool is_kept = fits_registers(row);
  float4 post_weights = is_kept ? load_kept(row, post_weight) : float4(0.0f);
  float4 weights = is_kept ? load_kept(row, weight) : float4(0.0f);
  wait_for_inputs();
  if (is_kept) {
    float4 branches = load_kept(row, branch + start);
    float4 values = load_kept(row, x + start);
    values += branches * (inverse_rms_of_kept(row, branches, args.eps, branch_scratch) * post_weights);
    store_kept(row, values, x + start);
    write_kept(row, values * (inverse_rms_of_kept(row, values, args.eps, scratch) * weights), y);
    return;
  }
  float scale = inverse_rms(row, branch, args.eps, branch_scratch);
  for (uint i = thread_index; i < args.columns; i += threads) {
    x[start + i] += branch[start + i] * scale * post_weight[i];
  }
  scale_row(row, x, weight, inverse_rms(row, x, args.eps, scratch), y);
}
