#include <metal_stdlib>
using namespace metal;

kernel void count(device atomic_uint* y [[buffer(0)]]) {
  atomic_fetch_add_explicit(y, 1u, memory_order_acquire);  // expect: undeclared identifier 'memory_order_acquire'
}
