// The sums of one-row products in tiles of sixteen outputs, from weights fetched ahead.
//
// `parts` simdgroups of a threadgroup share a tile: each takes every `parts`-th step of four chunks. A simdgroup holds
// the weights of DEPTH steps in registers, the first of them fetched before the inputs are there.
#pragma once

#include "early_start.h"
#include "row_tile_format.h"

// A row of inputs is staged in pieces: 28 KB of the 32 KB that every device has.
constant constexpr uint STAGED_COLUMNS = 7168;
constant constexpr uint STAGED_AT_ONCE = 4;
constant constexpr uint STEP_COLUMNS = TILE_LANES * CHUNK_COLUMNS;
constant constexpr uint MAX_TILE_SIMDGROUPS = 16;
constant constexpr uint MAX_TILE_THREADS = MAX_TILE_SIMDGROUPS * 32;

// A pipeline is made for one shape and cut, so that all counts are known when it is compiled.
constant uint tile_columns [[function_constant(0)]];
constant uint tile_parts [[function_constant(1)]];       // a power of two
constant uint tile_simdgroups [[function_constant(2)]];  // of a threadgroup, a multiple of the parts

#define TILE_STEPS ((tile_columns + STEP_COLUMNS - 1) / STEP_COLUMNS)

// Threadgroup memory of a kernel; `sums` are those of each chunk's inputs.
#define ROW_TILE_MEMORY(MATRICES)                         \
  threadgroup float4 staged[STAGED_COLUMNS / 4];          \
  threadgroup float sums[STAGED_COLUMNS / CHUNK_COLUMNS]; \
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * TILE_OUTPUTS * MATRICES]

// Where a simdgroup stands.
struct TilePlace {
  uint lane;
  uint simdgroup;
  uint part;
  uint first_output;
};

inline TilePlace tile_place(uint group, uint lane, uint simdgroup) {
  uint tile = group * (tile_simdgroups / tile_parts) + simdgroup / tile_parts;
  return {lane, simdgroup, simdgroup % tile_parts, tile * TILE_OUTPUTS};
}

// A lane's weights of one step.
template <typename Format, uint MATRICES>
struct TileStep {
  uint4 bits[MATRICES * 2];
  TileFormat<Format> format[MATRICES * 2];
};

template <typename Format, uint MATRICES>
inline void fetch_step(thread const Weights* matrices, uint outputs, thread const TilePlace& place, uint step,
                       thread TileStep<Format, MATRICES>& fetched) {
  uint chunks = tile_columns / CHUNK_COLUMNS;
  if (step * TILE_LANES >= chunks) {
    return;
  }
  // Chunks beyond the last and outputs beyond the last repeat those; inputs beyond the last column are zero.
  uint chunk = min(step * TILE_LANES + place.lane % TILE_LANES, chunks - 1);
  for (uint i = 0; i < MATRICES * 2; i++) {
    ulong row = min(place.first_output + place.lane / TILE_LANES + i % 2 * 8, outputs - 1);
    fetched.bits[i] = plane<uint4>(matrices[i / 2], LOW)[row * chunks + chunk];
    fetched.format[i].load(matrices[i / 2], row, chunks, chunk);
  }
}

template <typename Format>
inline void stage_four(float4 values, uint index, uint lane, threadgroup float4* staged, threadgroup float* sums) {
  stage_inputs(staged, index, values);
  if (TileFormat<Format>::HAS_SHIFT) {
    float sum = (values.x + values.y) + (values.z + values.w);
    sum += simd_shuffle_xor(sum, 1);
    sum += simd_shuffle_xor(sum, 2);
    sum += simd_shuffle_xor(sum, 4);
    if (lane % 8 == 0) {
      sums[index / 8] = sum;
    }
  }
}

// Columns from `begin` on, zeros after the last, so that whole steps are there.
template <typename Format>
inline void stage_piece(device const float* x, uint begin, thread const TilePlace& place, threadgroup float4* staged,
                        threadgroup float* sums) {
  uint count = min(tile_columns - begin, STAGED_COLUMNS);
  uint fours = (count + STEP_COLUMNS - 1) / STEP_COLUMNS * STEP_COLUMNS / 4;
  uint threads = tile_simdgroups * 32;
  uint rounds = (fours + threads - 1) / threads;
  uint first = place.simdgroup * 32 + place.lane;
  // Several loads are under way before the first is used.
  for (uint round = 0; round < rounds; round += STAGED_AT_ONCE) {
    float4 values[STAGED_AT_ONCE];
    for (uint i = 0; i < STAGED_AT_ONCE && round + i < rounds; i++) {
      uint index = first + (round + i) * threads;
      values[i] = index * 4 < count ? *(device const float4*)(x + begin + index * 4) : float4(0.0f);
    }
    for (uint i = 0; i < STAGED_AT_ONCE && round + i < rounds; i++) {
      uint index = first + (round + i) * threads;
      if (index < fours) {
        stage_four<Format>(values[i], index, place.lane, staged, sums);
      }
    }
  }
}

// The first steps' weights; a kernel calls this before it waits for its inputs.
template <typename Format, uint MATRICES, uint DEPTH>
inline void fetch_first_steps(thread const Weights* matrices, uint outputs, thread const TilePlace& place,
                              thread TileStep<Format, MATRICES>* ahead) {
  for (uint i = 0; i < DEPTH; i++) {
    fetch_step<Format, MATRICES>(matrices, outputs, place, place.part + i * tile_parts, ahead[i]);
  }
}

// Adds this lane's parts of its two rows of every matrix, over its steps from `step` to before `end`, to `totals`. What
// is staged begins with step `first`.
template <typename Format, uint MATRICES, uint DEPTH>
inline void accumulate_steps(thread const Weights* matrices, uint outputs, thread const TilePlace& place, uint first,
                             uint end, thread uint& step, thread TileStep<Format, MATRICES>* ahead,
                             threadgroup const float4* staged, threadgroup const float* sums, thread float2* totals) {
  for (; step < end; step += tile_parts) {
    TileStep<Format, MATRICES> now = ahead[0];
    for (uint i = 1; i < DEPTH; i++) {
      ahead[i - 1] = ahead[i];
    }
    fetch_step<Format, MATRICES>(matrices, outputs, place, step + DEPTH * tile_parts, ahead[DEPTH - 1]);
    uint chunk = (step - first) * TILE_LANES + place.lane % TILE_LANES;
    TileInputs inputs = load_inputs(staged, chunk, place.lane);
    for (uint m = 0; m < MATRICES; m++) {
      float2 products = tile_products(now.bits[m * 2], now.bits[m * 2 + 1], inputs);
      thread const TileFormat<Format>* format = now.format + m * 2;
      totals[m] += float2(format[0].scale(), format[1].scale()) * products;
      if (TileFormat<Format>::HAS_SHIFT) {
        totals[m] += float2(format[0].shift(), format[1].shift()) * sums[chunk];
      }
    }
  }
}

// The same over a whole row, staged piece by piece.
template <typename Format, uint MATRICES, uint DEPTH>
inline void accumulate_tile(thread const Weights* matrices, device const float* x, uint outputs,
                            thread const TilePlace& place, thread TileStep<Format, MATRICES>* ahead,
                            threadgroup float4* staged, threadgroup float* sums, thread float2* totals) {
  uint step = place.part;
  for (uint first = 0; first < TILE_STEPS; first += STAGED_COLUMNS / STEP_COLUMNS) {
    if (first > 0) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    stage_piece<Format>(x, first * STEP_COLUMNS, place, staged, sums);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint end = min(first + STAGED_COLUMNS / STEP_COLUMNS, TILE_STEPS);
    accumulate_steps<Format, MATRICES, DEPTH>(matrices, outputs, place, first, end, step, ahead, staged, sums, totals);
  }
}

// Adds up lanes and parts. Afterwards lane m * 16 + i of each first part has output i of matrix m.
template <uint MATRICES>
inline float gather_tile(thread const float2* totals, thread const TilePlace& place, threadgroup float* scratch) {
  for (uint m = 0; m < MATRICES; m++) {
    float2 total = totals[m];
    total += simd_shuffle_xor(total, 1);
    total += simd_shuffle_xor(total, 2);
    if (place.lane % TILE_LANES == 0) {
      uint first = (place.simdgroup * MATRICES + m) * TILE_OUTPUTS + place.lane / TILE_LANES;
      scratch[first] = total.x;
      scratch[first + 8] = total.y;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float sum = 0.0f;
  if (place.part == 0 && place.lane < MATRICES * TILE_OUTPUTS) {
    for (uint part = 0; part < tile_parts; part++) {
      sum += scratch[(place.simdgroup + part) * MATRICES * TILE_OUTPUTS + place.lane];
    }
  }
  return sum;
}
