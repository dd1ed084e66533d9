#include <metal_stdlib>
using namespace metal;

template <typename T>
kernel void fill(device T* y [[buffer(0)]]) {
  y[0] = T(1);
}

template [[host_name("fill_any")]] kernel decltype(fill<float>) fill<float>;
template [[host_name("fill_any")]] kernel decltype(fill<half>) fill<half>;  // expect: a kernel 'fill_any' is already defined
