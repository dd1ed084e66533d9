// glu: y = act(gate) * up, element by element; the gate of a gated linear unit. Shazeer 2020.
//
//   gate, up, y (count,) float32. One thread an element.
#include "include/activation.h"

struct GluArgs {
  uint count;
  uint activation;
};

kernel void glu(constant GluArgs& args [[buffer(0)]], device const float* gate [[buffer(1)]],
                device const float* up [[buffer(2)]], device float* y [[buffer(3)]],
                uint i [[thread_position_in_grid]]) {
  if (i < args.count) {
    y[i] = activate(args.activation, gate[i]) * up[i];
  }
}
