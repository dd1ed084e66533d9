#include <metal_stdlib>
using namespace metal;

struct View {
  const float* values;  // expect: needs an address space: 'values'
};

kernel void copy(device float* y [[buffer(0)]]) { y[0] = sizeof(View); }
