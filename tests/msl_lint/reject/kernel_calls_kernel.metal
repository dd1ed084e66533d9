#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) { y[0] = 1.0f; }

kernel void twice(device float* y [[buffer(0)]]) {  // expect: a kernel can't be called: 'fill' in 'twice'
  fill(y);
}
