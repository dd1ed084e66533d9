// layer_norm: y = (x - mean) / sqrt(variance + eps) * weight + bias, row by row. Ba, Kiros and Hinton 2016.
//
//   x, y (rows, columns) float32; weight and the optional bias (columns,) float32
//
// One threadgroup a row. The mean is taken off before squares are summed: a large common offset costs no precision.
#include "include/reduce.h"

struct LayerNormArgs {
  uint columns;
  float eps;
};

constant bool has_bias [[function_constant(0)]];

kernel void layer_norm(constant LayerNormArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                       device const float* weight [[buffer(2)]],
                       device const float* bias [[buffer(3), function_constant(has_bias)]],
                       device float* y [[buffer(4)]], uint row_index [[threadgroup_position_in_grid]],
                       uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                       uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float sum_scratch[MAX_SIMDGROUPS];
  threadgroup float square_scratch[MAX_SIMDGROUPS];
  device const float* row = x + ulong(row_index) * args.columns;
  float sum = 0.0f;
  for (uint i = thread_index; i < args.columns; i += threads) {
    sum += row[i];
  }
  float mean = threadgroup_sum(sum, sum_scratch, lane, simdgroup, simdgroups) / float(args.columns);
  float squares = 0.0f;
  for (uint i = thread_index; i < args.columns; i += threads) {
    squares += (row[i] - mean) * (row[i] - mean);
  }
  float variance = threadgroup_sum(squares, square_scratch, lane, simdgroup, simdgroups) / float(args.columns);
  float scale = precise::rsqrt(variance + args.eps);
  for (uint i = thread_index; i < args.columns; i += threads) {
    y[ulong(row_index) * args.columns + i] = (row[i] - mean) * scale * weight[i] + (has_bias ? bias[i] : 0.0f);
  }
}
