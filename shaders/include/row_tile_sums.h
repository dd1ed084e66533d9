// The sums of one-row products in tiles of sixteen outputs, from weights fetched ahead.
//
// A step is four chunks. A simdgroup holds the weights of DEPTH steps in registers, the first of them fetched before
// the inputs are there.
#pragma once

#include "early_start.h"
#include "row_cut.h"
#include "row_norm.h"
#include "row_tile_format.h"

constant constexpr uint STEP_COLUMNS = TILE_LANES * CHUNK_COLUMNS;
// More than are launched: the limit is what tells compilers how many registers a thread may have, and three
// threadgroups of eight simdgroups are to fit a core.
constant constexpr uint TILE_THREAD_LIMIT = 768;

#define TILE_STEPS ((tile_columns + STEP_COLUMNS - 1) / STEP_COLUMNS)

// Threadgroup memory of a kernel.
#define ROW_TILE_MEMORY(MATRICES)                                \
  threadgroup StagedFour staged[STAGED_COLUMNS / 4];             \
  threadgroup StagedFacts facts[STAGED_COLUMNS / CHUNK_COLUMNS]; \
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * TILE_OUTPUTS * MATRICES]

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
    uint row = min(place.first_output + place.lane / TILE_LANES + i % 2 * 8, outputs - 1);
    fetched.bits[i] = plane<uint4>(matrices[i / 2], LOW)[row * chunks + chunk];
    fetched.format[i].load(matrices[i / 2], row, chunks, chunk);
  }
}

// Columns from `begin` on, zeros after the last, so that whole steps are there.
template <typename Format>
inline void stage_piece(device const float* x, uint begin, thread const TilePlace& place,
                        threadgroup StagedFour* staged, threadgroup StagedFacts* facts) {
  uint count = min(tile_columns - begin, STAGED_COLUMNS);
  uint fours = (count + STEP_COLUMNS - 1) / STEP_COLUMNS * STEP_COLUMNS / 4;
  uint threads = tile_simdgroups * 32;
  uint rounds = (fours + threads - 1) / threads;
  uint first = place.simdgroup * 32 + place.lane;
  // Several loads are under way before the first is used.
  for (uint round = 0; round < rounds; round += ROW_FOURS) {
    float4 values[ROW_FOURS];
    for (uint i = 0; i < ROW_FOURS && round + i < rounds; i++) {
      uint index = first + (round + i) * threads;
      values[i] = index * 4 < count ? *(device const float4*)(x + begin + index * 4) : float4(0.0f);
    }
    for (uint i = 0; i < ROW_FOURS && round + i < rounds; i++) {
      uint index = first + (round + i) * threads;
      if (index < fours) {
        stage_inputs<TileFormat<Format>::HAS_SHIFT>(staged, facts, index, values[i]);
      }
    }
  }
}

// A row that the threads hold, as load_normed gives it; zeros after the last column, so that whole steps are there.
template <typename Format>
inline void stage_row(thread const NormRow& row, thread const TilePlace& place, threadgroup StagedFour* staged,
                      threadgroup StagedFacts* facts) {
  uint threads = tile_simdgroups * 32;
  uint fours = TILE_STEPS * STEP_COLUMNS / 4;
  for (uint i = 0; i < ROW_FOURS; i++) {
    uint index = place.simdgroup * 32 + place.lane + i * threads;
    if (i * threads < fours && index < fours) {
      stage_inputs<TileFormat<Format>::HAS_SHIFT>(staged, facts, index, row.fours[i]);
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

// Adds this lane's parts of its two rows of every matrix, over its steps from `first`, with which begins what is
// staged, to before `end`, to `totals`. Each place of `ahead` gets its next step's weights as soon as it is used up.
template <typename Format, uint MATRICES, uint DEPTH>
inline void accumulate_steps(thread const Weights* matrices, uint outputs, thread const TilePlace& place, uint first,
                             uint end, thread TileStep<Format, MATRICES>* ahead, threadgroup const StagedFour* staged,
                             threadgroup const StagedFacts* facts, thread float2* totals) {
  TileInputs inputs = no_inputs();
  uint round = DEPTH * tile_parts;
  for (uint begin = first / round * round + place.part; begin < end; begin += round) {
#pragma unroll
    for (uint i = 0; i < DEPTH; i++) {
      uint step = begin + i * tile_parts;
      if (step < first || step >= end) {
        continue;
      }
      uint chunk = (step - first) * TILE_LANES + place.lane % TILE_LANES;
      load_inputs<TileFormat<Format>::HAS_SHIFT>(staged, facts, chunk, place.lane, inputs);
      for (uint m = 0; m < MATRICES; m++) {
        float2 products = tile_products(ahead[i].bits[m * 2], ahead[i].bits[m * 2 + 1], inputs);
        thread const TileFormat<Format>* format = ahead[i].format + m * 2;
        totals[m] += float2(format[0].scale(), format[1].scale()) * products;
        if (TileFormat<Format>::HAS_SHIFT) {
          totals[m] += float2(format[0].shift(), format[1].shift()) * sum_of(inputs);
        }
      }
      if (round < TILE_STEPS) {
        fetch_step<Format, MATRICES>(matrices, outputs, place, step + round, ahead[i]);
      }
    }
  }
}

// The same over a whole row, staged piece by piece.
template <typename Format, uint MATRICES, uint DEPTH>
inline void accumulate_tile(thread const Weights* matrices, device const float* x, uint outputs,
                            thread const TilePlace& place, thread TileStep<Format, MATRICES>* ahead,
                            threadgroup StagedFour* staged, threadgroup StagedFacts* facts, thread float2* totals) {
  for (uint first = 0; first < TILE_STEPS; first += STAGED_COLUMNS / STEP_COLUMNS) {
    if (first > 0) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    stage_piece<Format>(x, first * STEP_COLUMNS, place, staged, facts);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    uint end = min(first + STAGED_COLUMNS / STEP_COLUMNS, TILE_STEPS);
    accumulate_steps<Format, MATRICES, DEPTH>(matrices, outputs, place, first, end, ahead, staged, facts, totals);
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
