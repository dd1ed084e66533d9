#include <metal_stdlib>
using namespace metal;

kernel void vote(device bool* y [[buffer(0)]], uint lane [[thread_index_in_simdgroup]]) {
  y[lane] = simd_sum(y[lane]);  // expect: no matching function for call to 'simd_sum'
}
