#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  simdgroup_matrix<int, 8, 8> m;  // expect: simdgroup_matrix holds half, bfloat or float
  y[0] = sizeof(m);
}
