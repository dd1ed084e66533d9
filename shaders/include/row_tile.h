// Sixteen outputs of a one-row product, which a simdgroup computes together from packed weights.
//
// Columns go in chunks of 32 nibbles, which are 16 bytes: byte j holds column j below and column j + 16 above. Four
// chunks make a step: lane l has chunk l % 4 of rows l / 4 and l / 4 + 8;
// afterwards the parts of four neighbouring lanes are added. The row of inputs is staged in threadgroup memory, in a
// form of the device's own. On NVIDIA a step is products of integer matrices: compat/metal_cuda/row_tile.h.
#pragma once

#include <metal_stdlib>
using namespace metal;

constant constexpr uint TILE_OUTPUTS = 16;
constant constexpr uint TILE_LANES = 4;  // that share a row
constant constexpr uint CHUNK_COLUMNS = 32;

#ifndef __SOFTMETAL_CUDA__

// The weights are nibbles less 8.
inline float4 nibbles_minus_8(uint4 shifted) {
  // A nibble put on top of the mantissa of 16.0f is the float n + 16, which spares the conversion.
  return as_type<float4>((shifted & uint4(0x00780000)) | uint4(0x41800000)) - 24.0f;
}

// A row of inputs is staged in pieces of so many columns: 28 KB of the 32 KB that every device has.
constant constexpr uint STAGED_COLUMNS = 7168;

// Four staged columns, and what a chunk keeps beside its columns.
typedef float4 StagedFour;
struct StagedFacts {
  float sum;
};

// What a lane multiplies its weights with.
struct TileInputs {
  threadgroup const float4* fours;
  float sum;
};

inline TileInputs no_inputs() { return {nullptr, 0.0f}; }

// Called by whole simdgroups, whose lanes have neighbouring fours; `index` counts the row's columns in fours.
template <bool NEEDS_SUM>
inline void stage_inputs(threadgroup StagedFour* staged, threadgroup StagedFacts* facts, uint index, float4 values) {
  staged[index] = values;
  if (NEEDS_SUM) {
    float sum = (values.x + values.y) + (values.z + values.w);
    sum += simd_shuffle_xor(sum, 1);
    sum += simd_shuffle_xor(sum, 2);
    sum += simd_shuffle_xor(sum, 4);
    if (index % 8 == 0) {
      facts[index / 8].sum = sum;
    }
  }
}

// `chunk` counts from the begin of what is staged. `inputs` is no_inputs(), or what the same lane loaded before.
template <bool NEEDS_SUM>
inline void load_inputs(threadgroup const StagedFour* staged, threadgroup const StagedFacts* facts, uint chunk, uint,
                        thread TileInputs& inputs) {
  inputs.fours = staged + chunk * (CHUNK_COLUMNS / 4);
  inputs.sum = NEEDS_SUM ? facts[chunk].sum : 0.0f;
}

// The sum of a chunk's inputs.
inline float sum_of(thread const TileInputs& inputs) { return inputs.sum; }

inline float chunk_dot(uint4 bits, threadgroup const float4* inputs) {
  float4 sums = float4(0.0f);
  for (uint i = 0; i < 4; i++) {
    uint word = bits[i];
    sums += nibbles_minus_8(uint4(word << 19, word << 11, word << 3, word >> 5)) * inputs[i];
    sums += nibbles_minus_8(uint4(word << 15, word << 7, word >> 1, word >> 9)) * inputs[i + 4];
  }
  return (sums.x + sums.y) + (sums.z + sums.w);
}

// This lane's parts of its two rows.
inline float2 tile_products(uint4 first, uint4 second, thread const TileInputs& inputs) {
  return float2(chunk_dot(first, inputs.fours), chunk_dot(second, inputs.fours));
}

#endif
