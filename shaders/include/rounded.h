// Four float32 values as a vector of another floating-point type, rounded to nearest even.
#pragma once

#include <metal_stdlib>
using namespace metal;

template <typename T>
inline vec<T, 4> rounded(float4 values);

template <>
inline vec<float, 4> rounded<float>(float4 values) {
  return values;
}
template <>
inline vec<half, 4> rounded<half>(float4 values) {
  return half4(values);
}
template <>
inline vec<bfloat, 4> rounded<bfloat>(float4 values) {
  return bfloat4(values);
}
