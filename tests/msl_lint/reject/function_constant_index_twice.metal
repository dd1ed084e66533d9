#include <metal_stdlib>
using namespace metal;

constant bool causal [[function_constant(0)]];
constant bool masked [[function_constant(0)]];  // expect: function constant index 0 is already taken

kernel void fill(device float* y [[buffer(0)]]) { y[0] = causal && masked ? 1.0f : 0.0f; }
