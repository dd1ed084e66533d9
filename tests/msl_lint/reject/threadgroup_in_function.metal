#include <metal_stdlib>
using namespace metal;

inline float total(float x, uint i) {
  threadgroup float scratch[32];  // expect: a threadgroup variable must be declared in a kernel
  scratch[i] = x;
  return scratch[0];
}

kernel void sum(device float* y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) { y[i] = total(y[i], i); }
