#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  y[0] = erf(y[0]);  // expect: 'erf'
}
