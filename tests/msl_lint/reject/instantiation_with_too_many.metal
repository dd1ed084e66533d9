#include <metal_stdlib>
using namespace metal;

template <typename T>
kernel void fill(device T* y [[buffer(0)]]) {
  y[0] = T(1);
}

template [[host_name("fill_f32")]] kernel void fill<float, 4>(device float*);  // expect: no templates 'fill' take 2 template arguments
