#include <metal_stdlib>
using namespace metal;

template <typename T>  // expect: the kernel template 'fill' is never instantiated
kernel void fill(device T* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = T(0);
}

kernel void count(device uint* y [[buffer(0)]], uint i [[thread_position_in_grid]]) { y[i] = i; }
