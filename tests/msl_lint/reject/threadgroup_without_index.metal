#include <metal_stdlib>
using namespace metal;

kernel void fill(threadgroup float* scratch, device float* y [[buffer(0)]]) {  // expect: needs [[threadgroup(n)]]
  y[0] = scratch[0];
}
