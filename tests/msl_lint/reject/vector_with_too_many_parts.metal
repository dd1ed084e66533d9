#include <metal_stdlib>
using namespace metal;

kernel void fill(device float4* y [[buffer(0)]]) {
  y[0] = float4(y[0].xyz, 1.0f, 2.0f);  // expect: the components given to a vector constructor don't add up
}
