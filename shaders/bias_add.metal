// bias_add: y = x + bias, the same bias for every row.
//
//   x, y (rows, columns) float32; bias (columns,) float32
//
// One thread an element: grid (columns, rows).
#include <metal_stdlib>

#include "include/elementwise_args.h"
using namespace metal;

kernel void bias_add(constant BiasAddArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                     device const float* bias [[buffer(2)]], device float* y [[buffer(3)]],
                     uint2 position [[thread_position_in_grid]]) {
  if (position.x >= args.columns) {
    return;
  }
  ulong index = ulong(position.y) * args.columns + position.x;
  y[index] = x[index] + bias[position.x];
}
