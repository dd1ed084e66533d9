#include <metal_stdlib>
using namespace metal;

kernel void copy(constant float* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  device const float* p = x;  // expect: with an lvalue of type 'constant float *'
  y[0] = p[0];
}
