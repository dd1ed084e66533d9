#include <metal_stdlib>
using namespace metal;

kernel void fill(device const float* x [[buffer(0)]],
                 device float* y [[buffer(0)]]) {  // expect: has the index 0 of 'x'
  y[0] = x[0];
}
