#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) { y[0] = 1.0f; }

template [[host_name("fill_f32")]] kernel void fill<float>(device float*);  // expect: no kernel template 'fill' is defined before this
