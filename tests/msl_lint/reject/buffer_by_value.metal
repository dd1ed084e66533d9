#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]],
                 uint n [[buffer(1)]]) {  // expect: must be a pointer or a reference
  y[0] = float(n);
}
