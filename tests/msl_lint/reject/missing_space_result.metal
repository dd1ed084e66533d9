#include <metal_stdlib>
using namespace metal;

inline float& first(device float* x) { return x[0]; }  // expect: needs an address space: the result of 'first'

kernel void copy(device float* y [[buffer(0)]]) { y[0] = 1.0f; }
