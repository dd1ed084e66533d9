#include <metal_stdlib>
using namespace metal;

kernel float fill(device float* y [[buffer(0)]]) {  // expect: a kernel must return void
  return y[0];
}
