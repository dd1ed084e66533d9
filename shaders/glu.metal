// glu: y = act(gate) * up, element by element; the gate of a gated linear unit. Shazeer 2020.
//
//   gate, up, y (count,) of type T. A thread has some elements, a threadgroup's width apart.
#include "include/activation.h"
#include "include/elementwise_args.h"

template <typename T>
kernel void glu(constant GluArgs& args [[buffer(0)]], device const T* gate [[buffer(1)]],
                device const T* up [[buffer(2)]], device T* y [[buffer(3)]],
                uint group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
  uint first = group * ELEMENTWISE_THREADS * ELEMENTWISE_EACH + thread_index;
  float gates[ELEMENTWISE_EACH];
  float ups[ELEMENTWISE_EACH];
  for (uint j = 0; j < ELEMENTWISE_EACH; j++) {
    uint i = min(first + j * ELEMENTWISE_THREADS, args.count - 1);
    gates[j] = float(gate[i]);
    ups[j] = float(up[i]);
  }
  for (uint j = 0; j < ELEMENTWISE_EACH; j++) {
    uint i = first + j * ELEMENTWISE_THREADS;
    if (i < args.count) {
      y[i] = T(activate(args.activation, gates[j]) * ups[j]);
    }
  }
}

template [[host_name("glu")]] kernel decltype(glu<float>) glu<float>;
template [[host_name("glu_bf16")]] kernel decltype(glu<bfloat>) glu<bfloat>;
