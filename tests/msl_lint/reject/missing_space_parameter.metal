#include <metal_stdlib>
using namespace metal;

inline float first(const float* x) { return x[0]; }  // expect: needs an address space: the parameter 'x'

kernel void copy(device const float* x [[buffer(0)]], device float* y [[buffer(1)]]) { y[0] = x[0]; }
