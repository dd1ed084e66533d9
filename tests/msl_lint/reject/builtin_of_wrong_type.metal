#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]],
                 float i [[thread_position_in_grid]]) {  // expect: must be a uint or ushort
  y[0] = i;
}
