// cast: y = x in another floating-point type, rounded to nearest even.
//
//   x (count,) of type From, y (count,) of type To. A thread has some elements, a threadgroup's width apart.
#include <metal_stdlib>

#include "include/elementwise_args.h"
using namespace metal;

template <typename From, typename To>
kernel void cast(constant CastArgs& args [[buffer(0)]], device const From* x [[buffer(1)]], device To* y [[buffer(2)]],
                 uint group [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
  uint first = group * ELEMENTWISE_THREADS * ELEMENTWISE_EACH + thread_index;
  for (uint j = 0; j < ELEMENTWISE_EACH; j++) {
    uint i = first + j * ELEMENTWISE_THREADS;
    if (i < args.count) {
      y[i] = To(float(x[i]));
    }
  }
}

#define INSTANTIATE(name, From, To) template [[host_name("cast_" name)]] kernel decltype(cast<From, To>) cast<From, To>;

INSTANTIATE("f32_f16", float, half)
INSTANTIATE("f32_bf16", float, bfloat)
INSTANTIATE("f16_f32", half, float)
INSTANTIATE("bf16_f32", bfloat, float)
