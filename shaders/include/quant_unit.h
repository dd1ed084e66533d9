// The product of eight weights of a row with their inputs, straight from the packed bits: what one lane does at a time
// in the one-row kernels. Neighbouring lanes read neighbouring bytes.
//
// A unit of a nibble format is four bytes of a block, so weights j to j + 3 and j + 16 to j + 19; of other formats,
// eight weights in a row. Columns are a multiple of 32.
#pragma once

#include "quant.h"

constant constexpr uint WEIGHTS_PER_UNIT = 8;
constant constexpr uint UNITS_PER_BLOCK = 4;

struct UnitInputs {
  float4 first;
  float4 second;
  float sum;
};

template <uint FIRST, uint SECOND>
inline UnitInputs load_inputs(device const float* x, uint begin) {
  UnitInputs inputs;
  inputs.first = *(device const float4*)(x + begin + FIRST);
  inputs.second = *(device const float4*)(x + begin + SECOND);
  float4 both = inputs.first + inputs.second;
  inputs.sum = (both.x + both.y) + (both.z + both.w);
  return inputs;
}

inline float unit_dot(float4 first, float4 second, thread const UnitInputs& inputs) {
  return dot(first, inputs.first) + dot(second, inputs.second);
}

struct NibbleUnit {
  static UnitInputs inputs(device const float* x, uint unit) {
    return load_inputs<0, 16>(x, unit / UNITS_PER_BLOCK * WEIGHTS_PER_BLOCK + unit % UNITS_PER_BLOCK * 4);
  }

  // Sum of (n + 16) x over the nibbles n: a nibble put on top of the mantissa of 16.0f is the float n + 16, which
  // spares the conversion.
  static float dot_plus_16(uint bits, thread const UnitInputs& inputs) {
    uint4 low = uint4(bits << 19, bits << 11, bits << 3, bits >> 5);
    uint4 high = uint4(bits << 15, bits << 7, bits >> 1, bits >> 9);
    float4 first = as_type<float4>((low & uint4(0x00780000)) | uint4(0x41800000));
    float4 second = as_type<float4>((high & uint4(0x00780000)) | uint4(0x41800000));
    return unit_dot(first, second, inputs);
  }

  // Sum of n x over a unit of the row that begins at block `first_block`.
  static float dot_of(thread const Weights& weights, ulong first_block, uint unit, thread const UnitInputs& inputs) {
    uint bits = plane<uint>(weights, LOW)[first_block * UNITS_PER_BLOCK + unit];
    return dot_plus_16(bits, inputs) - 16.0f * inputs.sum;
  }
};

struct RunUnit {
  static UnitInputs inputs(device const float* x, uint unit) { return load_inputs<0, 4>(x, unit * WEIGHTS_PER_UNIT); }

  static float dot_of_bytes(thread const Weights& weights, ulong first_block, uint unit,
                            thread const UnitInputs& inputs) {
    uint2 bits = plane<uint2>(weights, LOW)[first_block * UNITS_PER_BLOCK + unit];
    return unit_dot(float4(as_type<char4>(bits.x)), float4(as_type<char4>(bits.y)), inputs);
  }
};

// product(): the sum of weight times input over a unit of a row; rows have `row_blocks` blocks.
template <typename Format>
struct Unit;

template <>
struct Unit<Float<float>> : RunUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    device const float4* values = plane<float4>(weights, LOW) + (row * row_blocks * UNITS_PER_BLOCK + unit) * 2;
    return unit_dot(values[0], values[1], inputs);
  }
};

template <>
struct Unit<Float<half>> : RunUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    return run_dot(plane<uint4>(weights, LOW)[row * row_blocks * UNITS_PER_BLOCK + unit], inputs.first, inputs.second);
  }

  static float run_dot(uint4 bits, float4 first, float4 second) {
    return dot(float4(as_type<half4>(bits.xy)), first) + dot(float4(as_type<half4>(bits.zw)), second);
  }
};

template <>
struct Unit<Float<bfloat>> : RunUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    return run_dot(plane<uint4>(weights, LOW)[row * row_blocks * UNITS_PER_BLOCK + unit], inputs.first, inputs.second);
  }

  static float run_dot(uint4 bits, float4 first, float4 second) {
    uint4 even = bits << uint4(16);
    uint4 odd = bits & uint4(0xFFFF0000);
    return dot(as_type<float4>(uint4(even.x, odd.x, even.y, odd.y)), first) +
           dot(as_type<float4>(uint4(even.z, odd.z, even.w, odd.w)), second);
  }
};

template <>
struct Unit<Q8_0> : RunUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    float scale = float(plane<half>(weights, SCALES)[row * row_blocks + unit / UNITS_PER_BLOCK]);
    return scale * dot_of_bytes(weights, row * row_blocks, unit, inputs);
  }
};

template <>
struct Unit<Q4_0> : NibbleUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    float scale = float(plane<half>(weights, SCALES)[row * row_blocks + unit / UNITS_PER_BLOCK]);
    return scale * (dot_of(weights, row * row_blocks, unit, inputs) - 8.0f * inputs.sum);
  }
};

template <>
struct Unit<Q4_1> : NibbleUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    ulong block = row * row_blocks + unit / UNITS_PER_BLOCK;
    return float(plane<half>(weights, SCALES)[block]) * dot_of(weights, row * row_blocks, unit, inputs) +
           float(plane<half>(weights, MINS)[block]) * inputs.sum;
  }
};

template <>
struct Unit<Q4_K> : NibbleUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    ulong block = row * row_blocks + unit / UNITS_PER_BLOCK;
    ulong super_block = block / BLOCKS_PER_SUPER_BLOCK;
    float scale = float(plane<half>(weights, SUPER_SCALES)[super_block]) * float(plane<uchar>(weights, SCALES)[block]);
    float shift = float(plane<half>(weights, SUPER_MINS)[super_block]) * float(plane<uchar>(weights, MINS)[block]);
    return scale * dot_of(weights, row * row_blocks, unit, inputs) - shift * inputs.sum;
  }
};

template <>
struct Unit<Int8> : RunUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    ulong group = group_index(weights, row, row_blocks * WEIGHTS_PER_BLOCK, unit / UNITS_PER_BLOCK);
    float zero = has_zero_points(weights) ? float(plane<char>(weights, MINS)[group]) : 0.0f;
    float total = dot_of_bytes(weights, row * row_blocks, unit, inputs) - zero * inputs.sum;
    return float(plane<half>(weights, SCALES)[group]) * total;
  }
};

template <>
struct Unit<Int4> : NibbleUnit {
  static float product(thread const Weights& weights, ulong row, uint row_blocks, uint unit,
                       thread const UnitInputs& inputs) {
    ulong group = group_index(weights, row, row_blocks * WEIGHTS_PER_BLOCK, unit / UNITS_PER_BLOCK);
    float zero = has_zero_points(weights) ? float(plane<uchar>(weights, MINS)[group]) : 8.0f;
    float total = dot_of(weights, row * row_blocks, unit, inputs) - zero * inputs.sum;
    return float(plane<half>(weights, SCALES)[group]) * total;
  }
};

// Calls MACRO(name, Format) for every format that has units.
#define FOR_EACH_UNIT_FORMAT(MACRO) \
  MACRO(f32, Float<float>)          \
  MACRO(f16, Float<half>)           \
  MACRO(bf16, Float<bfloat>)        \
  MACRO(q8_0, Q8_0)                 \
  MACRO(q4_0, Q4_0)                 \
  MACRO(q4_1, Q4_1)                 \
  MACRO(q4_k, Q4_K)                 \
  MACRO(int8, Int8)                 \
  MACRO(int4, Int4)
