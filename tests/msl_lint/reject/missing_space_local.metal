#include <metal_stdlib>
using namespace metal;

kernel void copy(device float* y [[buffer(0)]]) {
  float values[4] = {};
  float* p = values;  // expect: needs an address space: 'float * p'
  y[0] = p[0];
}
