#include <metal_stdlib>
using namespace metal;

kernel void fill(device float* y [[buffer(0)]]) {
  auto twice = [](float x) { return 2.0f * x; };  // expect: no lambda expressions
  y[0] = twice(1.0f);
}
