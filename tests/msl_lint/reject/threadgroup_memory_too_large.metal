#include <metal_stdlib>
using namespace metal;

constant constexpr uint ROWS = 65;

struct Pair {
  float value;
  uint id;
};

kernel void two_arrays(device float* y [[buffer(0)]]) {  // expect: 'two_arrays' has 33280 bytes of threadgroup variables
  threadgroup float tile[ROWS][64];
  threadgroup Pair pairs[ROWS * 32];
  tile[0][0] = 1.0f;
  pairs[0].value = tile[0][0];
  y[0] = pairs[0].value;
}

kernel void just_fits(device float* y [[buffer(0)]]) {
  threadgroup float tile[8192];
  tile[0] = 1.0f;
  y[0] = tile[0];
}

template <typename T, uint N>
kernel void tiled(device T* y [[buffer(0)]]) {
  threadgroup T tile[N * 1024];
  tile[0] = T(1);
  y[0] = tile[0];
}

template [[host_name("tiled_f16")]] kernel decltype(tiled<half, 16>) tiled<half, 16>;
template [[host_name("tiled_f32")]] kernel decltype(tiled<float, 16>) tiled<float, 16>;  // expect: has 65536 bytes
