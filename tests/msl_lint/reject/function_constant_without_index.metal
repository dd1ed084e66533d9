#include <metal_stdlib>
using namespace metal;

constant uint first;                               // expect: default initialization of an object of const type
constant uint width [[function_constant(first)]];  // expect: function_constant needs an index

kernel void fill(device uint* y [[buffer(0)]]) { y[0] = 1; }
