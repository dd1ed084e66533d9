#include <metal_stdlib>
using namespace metal;

template <typename T>
inline T first(T x) {
  return x;
}

kernel void fill(device float* y [[buffer(0)]]) {
  y[0] = *first<device float*>(y);
  y[1] = *first<float*>(y);  // expect: needs an address space: 'float * >'
}
