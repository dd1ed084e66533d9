#include <metal_stdlib>
using namespace metal;

template <typename T>
kernel void copy(device const T* x [[buffer(0)]], device float* y [[buffer(1)]]) {
  threadgroup T scratch[4];
  device T* p = scratch;  // expect: (aka 'threadgroup half[4]')
  y[0] = float(p[0]) + float(x[0]);
}

template [[host_name("copy_f16")]] kernel decltype(copy<half>) copy<half>;
