#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  static uint calls = 0;  // expect: a static variable in a function
  y[0] = float(calls);
}
