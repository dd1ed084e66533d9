#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[threadgroup(0)]]) {  // expect: in device memory can't be a [[threadgroup]]
  y[0] = 1.0f;
}
