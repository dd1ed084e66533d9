#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[bufer(0)]]) {  // expect: the attribute [[bufer]] of a kernel argument is not supported
  y[0] = 1.0f;
}
