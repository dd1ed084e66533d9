#include <metal_stdlib>
using namespace metal;

kernel void clamp_below(device float* y [[buffer(0)]]) {
  y[0] = max(y[0], 0);  // expect: no matching function for call to 'max'
}
