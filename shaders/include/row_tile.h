// Sixteen outputs of a one-row product, which a simdgroup computes together from packed weights.
//
// Columns go in chunks of 32 nibbles, which are 16 bytes: byte j holds column j below and column j + 16 above. Four
// chunks make a step: lane l has chunk l % 4 of rows l / 4 and l / 4 + 8;
// afterwards the parts of four neighbouring lanes are added. The row of inputs is staged in threadgroup memory, in an
// order of the device's own. On NVIDIA a step is products of matrices: compat/metal_cuda/row_tile.h.
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

// What a lane multiplies its weights with.
struct TileInputs {
  threadgroup const float4* fours;
};

// `index` counts the row's columns in fours.
inline void stage_inputs(threadgroup float4* staged, uint index, float4 values) { staged[index] = values; }

// `chunk` counts from the begin of what is staged.
inline TileInputs load_inputs(threadgroup const float4* staged, uint chunk, uint) {
  return {staged + chunk * (CHUNK_COLUMNS / 4)};
}

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
