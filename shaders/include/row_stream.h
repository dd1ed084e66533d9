// The sums of one-row products of plain floats of 16 bits, from weights fetched ahead.
//
// A lane takes eight weights of a row at a time, 16 bytes, and neighbouring lanes neighbouring ones. A simdgroup holds
// STREAM_UNITS of these a lane, the first of them fetched before the inputs are there.
#pragma once

#include "early_start.h"
#include "gather_parts.h"
#include "quant_unit.h"
#include "row_cut.h"
#include "row_norm.h"

constant constexpr uint STREAM_UNITS = 8;
constant constexpr uint STREAM_COLUMNS = 7168;  // of a row that is kept in threadgroup memory: 28 KB
// Bounds the registers of a thread, so that two threadgroups of sixteen simdgroups fit a core.
constant constexpr uint STREAM_THREAD_LIMIT = 992;

#define STREAM_ROW_UNITS (tile_columns / WEIGHTS_PER_UNIT)
#define STREAM_ROUNDS ((STREAM_ROW_UNITS + 32 * tile_parts - 1) / (32 * tile_parts))

// A unit of every row: row number i is output i % OUTPUTS of matrix i / OUTPUTS. Outputs beyond the last repeat it.
template <uint MATRICES, uint OUTPUTS>
inline void fetch_round(thread const Weights* matrices, uint outputs, thread const TilePlace& place, uint round,
                        thread uint4* bits) {
  uint unit = (round * tile_parts + place.part) * 32 + place.lane;
  if (unit >= STREAM_ROW_UNITS) {
    return;
  }
  for (uint row = 0; row < MATRICES * OUTPUTS; row++) {
    uint output = min(place.first_output + row % OUTPUTS, outputs - 1);
    bits[row] = plane<uint4>(matrices[row / OUTPUTS], LOW)[output * STREAM_ROW_UNITS + unit];
  }
}

// A kernel calls this before it waits for its inputs.
template <uint MATRICES, uint OUTPUTS>
inline void fetch_first_rounds(thread const Weights* matrices, uint outputs, thread const TilePlace& place,
                               thread uint4* ahead) {
  for (uint i = 0; i < STREAM_UNITS / (MATRICES * OUTPUTS); i++) {
    fetch_round<MATRICES, OUTPUTS>(matrices, outputs, place, i, ahead + i * MATRICES * OUTPUTS);
  }
}

// Puts a row that the threads hold into `staged`.
inline void keep_row(thread const NormRow& row, thread const TilePlace& place, threadgroup float4* staged) {
  for (uint i = 0; i < ROW_FOURS; i++) {
    uint index = place.simdgroup * 32 + place.lane + i * tile_simdgroups * 32;
    if (i * tile_simdgroups * 128 < tile_columns && index * 4 < tile_columns) {
      staged[index] = row.fours[i];
    }
  }
}

// Multiplies the norm's weights, which are `staged` before the inputs are there, by the row. What a norm divides by,
// the root of the mean square, is the same for all products: they are multiplied by it in the end, so nobody waits for
// it. `scratch` holds 2 * MAX_SIMDGROUPS floats, the first of which get each simdgroup's sum of squares.
inline void keep_weighted(thread const NormInputs& inputs, thread const NormRow& post_weights, bool writes_stream,
                          device float* stream, thread const TilePlace& place, threadgroup float* scratch,
                          threadgroup float4* staged) {
  NormRow row;
  load_stream(inputs, post_weights, writes_stream, stream, place, scratch + MAX_SIMDGROUPS, row);
  for (uint i = 0; i < ROW_FOURS; i++) {
    uint index = place.simdgroup * 32 + place.lane + i * tile_simdgroups * 32;
    if (i * tile_simdgroups * 128 < tile_columns && index * 4 < tile_columns) {
      staged[index] *= row.fours[i];
    }
  }
  float squares = simd_sum(squares_of(row));
  if (place.lane == 0) {
    scratch[place.simdgroup] = squares;
  }
}

// What products with that row are multiplied by; `scratch` is keep_weighted's, after a barrier.
inline float scale_of_products(float eps, thread const TilePlace& place, threadgroup const float* scratch) {
  return inverse_rms(simd_sum(place.lane < tile_simdgroups ? scratch[place.lane] : 0.0f), eps);
}

// This lane's part of the sums; `inputs` is the row in fours.
template <typename Format, uint MATRICES, uint OUTPUTS, typename Fours>
inline void accumulate_rounds(thread const Weights* matrices, Fours inputs, uint outputs, thread const TilePlace& place,
                              thread uint4* ahead, thread float* sums) {
  const uint depth = STREAM_UNITS / (MATRICES * OUTPUTS);
  for (uint row = 0; row < MATRICES * OUTPUTS; row++) {
    sums[row] = 0.0f;
  }
  for (uint begin = 0; begin < STREAM_ROUNDS; begin += depth) {
#pragma unroll
    for (uint i = 0; i < depth; i++) {
      uint round = begin + i;
      uint unit = (round * tile_parts + place.part) * 32 + place.lane;
      if (round < STREAM_ROUNDS && unit < STREAM_ROW_UNITS) {
        float4 first = inputs[unit * 2];
        float4 second = inputs[unit * 2 + 1];
        for (uint row = 0; row < MATRICES * OUTPUTS; row++) {
          sums[row] += Unit<Format>::run_dot(ahead[i * MATRICES * OUTPUTS + row], first, second);
        }
      }
      if (depth < STREAM_ROUNDS) {
        fetch_round<MATRICES, OUTPUTS>(matrices, outputs, place, round + depth, ahead + i * MATRICES * OUTPUTS);
      }
    }
  }
}

// Adds up lanes and parts, as gather_parts says; `scratch` holds MAX_TILE_SIMDGROUPS * COUNT floats.
template <uint COUNT>
inline float gather_rounds(thread const float* sums, thread const TilePlace& place, threadgroup float* scratch) {
  return gather_parts<COUNT>(sums, place.lane, place.simdgroup, place.part, tile_parts, scratch);
}

// Calls MACRO(name, Format) for every format that is streamed.
#define FOR_EACH_STREAM_FORMAT(MACRO) \
  MACRO(f16, Float<half>)             \
  MACRO(bf16, Float<bfloat>)
