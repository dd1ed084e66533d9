#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  threadgroup float scratch[4] = {1.0f, 0.0f, 0.0f, 0.0f};  // expect: can't have an initializer other than zeros
  y[0] = scratch[0];
}
