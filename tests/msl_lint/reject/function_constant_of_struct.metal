#include <metal_stdlib>
using namespace metal;

struct Pair {
  uint a, b;
};

constant Pair pair [[function_constant(0)]];  // expect: a function constant must be one scalar or vector

kernel void fill(device uint* y [[buffer(0)]]) { y[0] = 1; }
