// How a cache keeps rows of head_dim keys or values: as floats of type T, or
//   (T = char) as integers from -127 to 127 with a float16 scale a row; head_dim is then even;
//   (T = Nibbles) as integers from -7 to 7, two a byte, the lower first, with a float16 scale for each group of up to
//   32 neighbours: the largest power of two that divides head_dim, which is a multiple of 4.
// All scales lie behind all rows, in the order of what they multiply. `elements` counts all rows' elements.
#pragma once

#include <metal_stdlib>

#include "include/half_scale.h"
using namespace metal;

// Two elements of four bits, each plus 8.
struct Nibbles {
  uchar bits;
};

constant constexpr int NIBBLE_ZERO = 8;

// Elements of a group: a power of two, as its logarithm.
inline uint group_shift(uint head_dim) { return min(5u, ctz(head_dim)); }

inline device half* group_scales(device Nibbles* cache, ulong elements) { return (device half*)(cache + elements / 2); }
inline device const half* group_scales(device const Nibbles* cache, ulong elements) {
  return (device const half*)(cache + elements / 2);
}

// Element d of a row; still to be multiplied with row_scale.
template <typename T>
inline float cached(device const T* cache, ulong, uint head_dim, ulong row, uint d) {
  return float(cache[row * head_dim + d]);
}
inline float cached(device const Nibbles* cache, ulong elements, uint head_dim, ulong row, uint d) {
  uint bits = cache[(row * head_dim + d) / 2].bits;
  uint shift = group_shift(head_dim);
  half scale = group_scales(cache, elements)[row * (head_dim >> shift) + (d >> shift)];
  return float(int(bits >> (d % 2 * 4) & 15) - NIBBLE_ZERO) * float(scale);
}

template <typename T>
inline float row_scale(device const T*, ulong, ulong) {
  return 1.0f;
}
inline float row_scale(device const char* cache, ulong elements, ulong row) {
  return float(((device const half*)(cache + elements))[row]);
}

// An integer as it is stored; where all are zeros the scale is 0.
inline float steps_of(float x, float scale, float most) {
  return scale > 0.0f ? clamp(rint(x / scale), -most, most) : 0.0f;
}

// Called by one simdgroup: the row x (head_dim,) as the cache keeps it, written there if `writes`; x becomes what will
// be read. Any lane may have written x and may read it afterwards.
template <typename T>
inline void keep_row(device T* cache, ulong, uint head_dim, ulong row, bool writes, uint lane, threadgroup float* x) {
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint d = lane; d < head_dim; d += 32) {
    T element = T(x[d]);
    if (writes) {
      cache[row * head_dim + d] = element;
    }
    x[d] = float(element);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}
inline void keep_row(device char* cache, ulong elements, uint head_dim, ulong row, bool writes, uint lane,
                     threadgroup float* x) {
  simdgroup_barrier(mem_flags::mem_threadgroup);
  float largest = 0.0f;
  for (uint d = lane; d < head_dim; d += 32) {
    largest = max(largest, abs(x[d]));
  }
  half scale = half_scale(simd_max(largest) / 127.0f);
  if (writes && lane == 0) {
    ((device half*)(cache + elements))[row] = scale;
  }
  for (uint d = lane; d < head_dim; d += 32) {
    float steps = steps_of(x[d], float(scale), 127.0f);
    if (writes) {
      cache[row * head_dim + d] = char(steps);
    }
    x[d] = steps * float(scale);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}
inline void keep_row(device Nibbles* cache, ulong elements, uint head_dim, ulong row, bool writes, uint lane,
                     threadgroup float* x) {
  uint shift = group_shift(head_dim);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint group = lane; group < head_dim >> shift; group += 32) {
    uint begin = group << shift;
    uint end = begin + (1u << shift);
    float largest = 0.0f;
    for (uint d = begin; d < end; d++) {
      largest = max(largest, abs(x[d]));
    }
    half scale = half_scale(largest / 7.0f);
    if (writes) {
      group_scales(cache, elements)[row * (head_dim >> shift) + group] = scale;
    }
    for (uint d = begin; d < end; d += 2) {
      float first = steps_of(x[d], float(scale), 7.0f);
      float second = steps_of(x[d + 1], float(scale), 7.0f);
      if (writes) {
        cache[(row * head_dim + d) / 2].bits = uchar(int(first) + NIBBLE_ZERO + (int(second) + NIBBLE_ZERO) * 16);
      }
      x[d] = first * float(scale);
      x[d + 1] = second * float(scale);
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}
