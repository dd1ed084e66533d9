#include <metal_stdlib>
using namespace metal;

kernel void largest(device atomic_float* y [[buffer(0)]], device const float* x [[buffer(1)]]) {
  atomic_fetch_max_explicit(y, x[0], memory_order_relaxed);  // expect: no matching function for call to 'atomic_fetch_max_explicit'
}
