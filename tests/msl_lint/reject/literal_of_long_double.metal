#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  y[0] = 1.0L;  // expect: '1.0L' is no floating-point literal of MSL
}
