#include <metal_stdlib>
using namespace metal;

float scale = 2.0f;  // expect: must be in the address space constant: 'scale'

kernel void fill(device float* y [[buffer(0)]]) { y[0] = 1.0f; }
