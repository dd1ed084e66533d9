// How a cache keeps rows of head_dim keys or values: as floats of type T, or (T = char) as integers from -127 to 127
// with a float16 scale a row; head_dim is then even. All scales lie behind all rows: row r's is the r-th float16 after
// `elements` integers. Everything that asks for the difference is folded away for floats.
#pragma once

#include <metal_stdlib>

#include "include/half_scale.h"
using namespace metal;

template <typename T>
inline bool has_row_scales(device const T*) {
  return false;
}
inline bool has_row_scales(device const char*) { return true; }

// What the elements of a row are to be multiplied with.
template <typename T>
inline float row_scale(device const T*, ulong, ulong) {
  return 1.0f;
}
inline float row_scale(device const char* cache, ulong elements, ulong row) {
  return float(((device const half*)(cache + elements))[row]);
}

// Called by all lanes that store a row whose largest magnitude is `largest`: its scale as it will be read.
template <typename T>
inline float scale_of_row(device const T*, float) {
  return 1.0f;
}
inline float scale_of_row(device const char*, float largest) { return float(half_scale(largest / 127.0f)); }

// Called once a row with what scale_of_row gave.
template <typename T>
inline void store_row_scale(device T*, ulong, ulong, float) {}
inline void store_row_scale(device char* cache, ulong elements, ulong row, float scale) {
  ((device half*)(cache + elements))[row] = half(scale);
}

// An element as it is stored; a row of zeros has the scale 0.
template <typename T>
inline T as_element(float x, float) {
  return T(x);
}
template <>
inline char as_element<char>(float x, float scale) {
  return scale > 0.0f ? char(clamp(rint(x / scale), -127.0f, 127.0f)) : char(0);
}
