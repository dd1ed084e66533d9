#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  if (y[0] < 0.0f) {
    throw 1;  // expect: MSL has no exceptions
  }
}
