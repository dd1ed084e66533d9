#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  y[0] = (1.0f;
}  // expect: does not match the bracket
