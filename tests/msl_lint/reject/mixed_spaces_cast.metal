#include <metal_stdlib>
using namespace metal;

kernel void copy(constant uint* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  device const float* p = (device const float*)x;  // expect: cast from one address space to another
  y[0] = p[0];
}
