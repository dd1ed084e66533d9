#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  threadgroup_barrier(2);  // expect: no matching function for call to 'threadgroup_barrier'
  y[0] = 1.0f;
}
