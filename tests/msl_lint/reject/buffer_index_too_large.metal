#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(31)]]) {  // expect: an argument index must be a constant from 0 to 30
  y[0] = 1.0f;
}
