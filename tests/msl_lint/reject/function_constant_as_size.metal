#include <metal_stdlib>
using namespace metal;

constant uint width [[function_constant(0)]];

kernel void fill(device float* y [[buffer(0)]]) {
  float row[width] = {};  // expect: variable length
  y[0] = row[0];
}
