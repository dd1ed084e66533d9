// How each weight format is read: 32 consecutive weights of one row as float32.
//
// A tensor is a run of planes (low bits, high bits, scales, ...); `planes` says where each starts, in units of 64
// bytes from the tensor's start. The planes of every format are described in python/fastgo/assets/quant.py. All
// planes are dense, so one index, the block's number counted over the whole tensor, finds a block in each of them.
// The order of operations is that of the GGUF reference, so values agree with it to the bit.
#pragma once

#include <metal_stdlib>
using namespace metal;

constant constexpr uint WEIGHTS_PER_BLOCK = 32;
constant constexpr uint BLOCKS_PER_SUPER_BLOCK = 8;

enum PlaneRole : uint { LOW = 0, HIGH = 1, SCALES = 2, MINS = 3, SUPER_SCALES = 4, SUPER_MINS = 5 };

struct Weights {
  device const uchar* base;
  constant uint* planes;
};

template <typename T>
inline device const T* plane(thread const Weights& weights, PlaneRole role) {
  return (device const T*)(weights.base + ulong(weights.planes[role]) * 64);
}

// Nibbles of a block: byte j holds weight j below and weight j + 16 above.
inline void load_nibbles(thread const Weights& weights, ulong block, thread float4* out) {
  device const uchar4* bytes = plane<uchar4>(weights, LOW) + block * 4;
  for (uint i = 0; i < 4; i++) {
    uchar4 packed = bytes[i];
    out[i] = float4(packed & uchar4(15));
    out[i + 4] = float4(packed >> uchar4(4));
  }
}

// Adds `value` to each weight whose bit is set.
inline void add_high_bits(uint bits, float value, thread float4* out) {
  for (uint i = 0; i < 8; i++) {
    uint nibble = bits >> (i * 4);
    out[i] += value * float4(nibble & 1, (nibble >> 1) & 1, (nibble >> 2) & 1, (nibble >> 3) & 1);
  }
}

inline void scale_and_shift(float scale, float shift, thread float4* out) {
  for (uint i = 0; i < 8; i++) {
    out[i] = out[i] * scale + shift;
  }
}

inline void center_and_scale(float center, float scale, thread float4* out) {
  for (uint i = 0; i < 8; i++) {
    out[i] = (out[i] - center) * scale;
  }
}

inline void load_bytes(thread const Weights& weights, ulong block, thread float4* out) {
  device const char4* bytes = plane<char4>(weights, LOW) + block * 8;
  for (uint i = 0; i < 8; i++) {
    out[i] = float4(bytes[i]);
  }
}

// Plain floats. The last block of a row may be short: what is beyond the row reads as zero.
template <typename T>
struct Float {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    device const T* values = plane<T>(weights, LOW) + row * columns + block * WEIGHTS_PER_BLOCK;
    uint count = min(WEIGHTS_PER_BLOCK, columns - block * WEIGHTS_PER_BLOCK);
    if (count == WEIGHTS_PER_BLOCK) {
      for (uint i = 0; i < 8; i++) {
        out[i] =
            float4(float(values[i * 4]), float(values[i * 4 + 1]), float(values[i * 4 + 2]), float(values[i * 4 + 3]));
      }
      return;
    }
    for (uint i = 0; i < 8; i++) {
      for (uint j = 0; j < 4; j++) {
        out[i][j] = i * 4 + j < count ? float(values[i * 4 + j]) : 0.0f;
      }
    }
  }
};

struct Q8_0 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_bytes(weights, index, out);
    center_and_scale(0.0f, float(plane<half>(weights, SCALES)[index]), out);
  }
};

struct Q4_0 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    center_and_scale(8.0f, float(plane<half>(weights, SCALES)[index]), out);
  }
};

struct Q4_1 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    scale_and_shift(float(plane<half>(weights, SCALES)[index]), float(plane<half>(weights, MINS)[index]), out);
  }
};

struct Q5_0 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    add_high_bits(plane<uint>(weights, HIGH)[index], 16.0f, out);
    center_and_scale(16.0f, float(plane<half>(weights, SCALES)[index]), out);
  }
};

struct Q5_1 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    add_high_bits(plane<uint>(weights, HIGH)[index], 16.0f, out);
    scale_and_shift(float(plane<half>(weights, SCALES)[index]), float(plane<half>(weights, MINS)[index]), out);
  }
};

// Super-blocks of 256: a float16 scale and minimum for eight blocks, 6-bit ones for each.
inline void scale_by_super_block(thread const Weights& weights, ulong index, thread float4* out) {
  ulong super_block = index / BLOCKS_PER_SUPER_BLOCK;
  float scale = float(plane<half>(weights, SUPER_SCALES)[super_block]) * float(plane<uchar>(weights, SCALES)[index]);
  float shift = float(plane<half>(weights, SUPER_MINS)[super_block]) * float(plane<uchar>(weights, MINS)[index]);
  scale_and_shift(scale, -shift, out);
}

struct Q4_K {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    scale_by_super_block(weights, index, out);
  }
};

struct Q5_K {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    add_high_bits(plane<uint>(weights, HIGH)[index], 16.0f, out);
    scale_by_super_block(weights, index, out);
  }
};

// 16 weights a scale: the two halves of a block differ.
struct Q6_K {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong index = row * (columns / WEIGHTS_PER_BLOCK) + block;
    load_nibbles(weights, index, out);
    add_high_bits(plane<uint>(weights, HIGH)[index * 2], 16.0f, out);
    add_high_bits(plane<uint>(weights, HIGH)[index * 2 + 1], 32.0f, out);
    float super_scale = float(plane<half>(weights, SUPER_SCALES)[index / BLOCKS_PER_SUPER_BLOCK]);
    for (uint side = 0; side < 2; side++) {
      float scale = super_scale * float(plane<char>(weights, SCALES)[index * 2 + side]);
      for (uint i = 0; i < 4; i++) {
        out[side * 4 + i] = (out[side * 4 + i] - 32.0f) * scale;
      }
    }
  }
};

// Our own integers. A scale and, where there are any, a zero point serve as many blocks of a row as the planes' entry
// GROUP_BLOCKS says, so that one kernel does for every size of group; the zero points stand where minima would.
constant constexpr uint GROUP_BLOCKS = 4;

inline ulong group_index(thread const Weights& weights, ulong row, uint columns, uint block) {
  uint group_blocks = weights.planes[GROUP_BLOCKS];
  return row * (columns / WEIGHTS_PER_BLOCK / group_blocks) + block / group_blocks;
}

inline bool has_zero_points(thread const Weights& weights) { return weights.planes[MINS] != 0; }

struct Int8 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong group = group_index(weights, row, columns, block);
    float zero = has_zero_points(weights) ? float(plane<char>(weights, MINS)[group]) : 0.0f;
    load_bytes(weights, row * (columns / WEIGHTS_PER_BLOCK) + block, out);
    center_and_scale(zero, float(plane<half>(weights, SCALES)[group]), out);
  }
};

struct Int4 {
  static void load(thread const Weights& weights, ulong row, uint columns, uint block, thread float4* out) {
    ulong group = group_index(weights, row, columns, block);
    float zero = has_zero_points(weights) ? float(plane<uchar>(weights, MINS)[group]) : 8.0f;
    load_nibbles(weights, row * (columns / WEIGHTS_PER_BLOCK) + block, out);
    center_and_scale(zero, float(plane<half>(weights, SCALES)[group]), out);
  }
};

// Calls MACRO(name, Format) for every weight format.
#define FOR_EACH_WEIGHT_FORMAT(MACRO) \
  MACRO(f32, Float<float>)            \
  MACRO(f16, Float<half>)             \
  MACRO(bf16, Float<bfloat>)          \
  MACRO(q8_0, Q8_0)                   \
  MACRO(q4_0, Q4_0)                   \
  MACRO(q4_1, Q4_1)                   \
  MACRO(q5_0, Q5_0)                   \
  MACRO(q5_1, Q5_1)                   \
  MACRO(q4_k, Q4_K)                   \
  MACRO(q5_k, Q5_K)                   \
  MACRO(q6_k, Q6_K)                   \
  MACRO(int8, Int8)                   \
  MACRO(int4, Int4)
