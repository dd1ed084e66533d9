#include <metal_stdlib>
using namespace metal;

kernel void fill(constant float* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  x[0] = 1.0f;  // expect: read-only variable is not assignable
  y[0] = x[0];
}
