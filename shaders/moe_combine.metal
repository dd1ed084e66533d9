// moe_combine: y[row] = sum over slots of weights[row, slot] * x[row, slot], the experts' answers for each token.
//
//   x (rows, top_k, columns), weights (rows, top_k), y (rows, columns), all float32
//
// One thread an element: grid (columns, rows).
#include <metal_stdlib>
using namespace metal;

struct MoeCombineArgs {
  uint top_k;
  uint columns;
};

kernel void moe_combine(constant MoeCombineArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                        device const float* weights [[buffer(2)]], device float* y [[buffer(3)]],
                        uint2 position [[thread_position_in_grid]]) {
  if (position.x >= args.columns) {
    return;
  }
  ulong first_pair = ulong(position.y) * args.top_k;
  float sum = 0.0f;
  for (uint slot = 0; slot < args.top_k; slot++) {
    sum += weights[first_pair + slot] * x[(first_pair + slot) * args.columns + position.x];
  }
  y[ulong(position.y) * args.columns + position.x] = sum;
}
