#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  thread float* p = new float[4];  // expect: MSL has no new
  y[0] = p[0];
}
