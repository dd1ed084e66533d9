#include <metal_stdlib>
using namespace metal;

[[max_total_threads_per_threadgroup(2048)]] kernel void fill(device float* y [[buffer(0)]]) {  // expect: constant from 1 to 1024
  y[0] = 1.0f;
}
