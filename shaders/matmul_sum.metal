// matmul_sum: the parts that matmul_split left added up, with bias and activation; see finish.h.
//
//   partial (parts, rows, outputs), bias (outputs,), y (rows, outputs) float32
//
// Grid: (tiles of outputs, rows), a thread an output.
#include "include/finish.h"

struct MatmulSumArgs {
  uint rows;
  uint outputs;
  uint parts;
};

kernel void matmul_sum(constant MatmulSumArgs& args [[buffer(0)]], device const float* partial [[buffer(1)]],
                       device float* y [[buffer(2)]],
                       device const float* bias [[buffer(3), function_constant(has_bias)]],
                       uint2 position [[thread_position_in_grid]]) {
  if (position.x >= args.outputs) {
    return;
  }
  ulong at = ulong(position.y) * args.outputs + position.x;
  float sum = 0.0f;
  for (uint part = 0; part < args.parts; part++) {
    sum += partial[at + ulong(part) * args.rows * args.outputs];
  }
  y[at] = finished(sum, bias, position.x);
}
