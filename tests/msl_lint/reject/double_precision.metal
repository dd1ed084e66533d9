#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  double sum = 0.0;  // expect: MSL has no double
  y[0] = float(sum);
}
