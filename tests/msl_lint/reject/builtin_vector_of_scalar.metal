#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]],
                 uint2 lane [[thread_index_in_simdgroup]]) {  // expect: must be a scalar
  y[0] = float(lane.x);
}
