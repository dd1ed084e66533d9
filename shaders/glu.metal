// glu: y = act(gate) * up, element by element; the gate of a gated linear unit. Shazeer 2020.
//
//   gate, up, y (count,) float32. A thread has some elements, a threadgroup's width apart.
#include "include/activation.h"
#include "include/elementwise_args.h"

kernel void glu(constant GluArgs& args [[buffer(0)]], device const float* gate [[buffer(1)]],
                device const float* up [[buffer(2)]], device float* y [[buffer(3)]],
                uint group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
  uint first = group * ELEMENTWISE_THREADS * ELEMENTWISE_EACH + thread_index;
  for (uint j = 0; j < ELEMENTWISE_EACH; j++) {
    uint i = first + j * ELEMENTWISE_THREADS;
    if (i < args.count) {
      y[i] = activate(args.activation, gate[i]) * up[i];
    }
  }
}
