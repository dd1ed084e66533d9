#include <metal_stdlib>
using namespace metal;

kernel void fill(device half4* x [[buffer(0)]], device float4* y [[buffer(1)]]) {
  float4 v = x[0];  // expect: cannot initialize a variable of type 'float4'
  y[0] = v;
}
