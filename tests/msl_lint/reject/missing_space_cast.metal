#include <metal_stdlib>
using namespace metal;

kernel void copy(device const uchar* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  y[0] = *(float*)(x);  // expect: needs an address space: 'float * )'
}
