// The sums of products of a few rows in pairs of tiles, from weights fetched ahead.
//
// `batch_parts` simdgroups of a threadgroup share a pair of tiles: each takes every `batch_parts`-th step.
#pragma once

#include "batch_tile.h"
#include "early_start.h"

constant constexpr uint BATCH_DEPTH = 2;  // steps whose weights are under way
constant constexpr uint BATCH_STEP_COLUMNS = TILE_LANES * CHUNK_COLUMNS;
constant constexpr uint MAX_BATCH_SIMDGROUPS = 16;
constant constexpr uint MAX_BATCH_THREADS = MAX_BATCH_SIMDGROUPS * 32;

// A pipeline is made for one shape and cut, so that all counts are known when it is compiled.
constant uint batch_columns [[function_constant(0)]];
constant uint batch_parts [[function_constant(1)]];
constant uint batch_simdgroups [[function_constant(2)]];  // of a threadgroup, a multiple of the parts

// Where a simdgroup stands.
struct BatchPlace {
  uint lane;
  uint simdgroup;
  uint part;
  uint pair;
};

inline BatchPlace batch_place(uint group, uint lane, uint simdgroup) {
  uint pair = group * (batch_simdgroups / batch_parts) + simdgroup / batch_parts;
  return {lane, simdgroup, simdgroup % batch_parts, pair};
}

// Two tiles: of which matrices, and each one's first output.
struct TilePair {
  Weights matrices[BATCH_TILES];
  uint first_outputs[BATCH_TILES];
  uint outputs;
};

template <typename Format>
inline void fetch_batch_step(thread const TilePair& pair, uint lane, uint step, thread BatchStep<Format>& fetched) {
  uint chunks = batch_columns / CHUNK_COLUMNS;
  if (step * TILE_LANES >= chunks) {
    return;
  }
  // Chunks beyond the last and outputs beyond the last repeat those; inputs beyond the last column count as zero.
  uint chunk = min(step * TILE_LANES + lane % TILE_LANES, chunks - 1);
  for (uint i = 0; i < BATCH_TILES * 2; i++) {
    uint row = min(pair.first_outputs[i / 2] + lane / TILE_LANES + i % 2 * 8, pair.outputs - 1);
    fetched.bits[i] = plane<uint4>(pair.matrices[i / 2], LOW)[row * chunks + chunk];
    fetched.format[i].load(pair.matrices[i / 2], row, chunks, chunk);
  }
}

// All of a simdgroup's steps over `rows` rows of x. What earlier kernels wrote is awaited here.
template <typename Format>
inline void accumulate_batch(thread const TilePair& pair, device const float* x, uint rows,
                             thread const BatchPlace& place, threadgroup uint4* scratch, thread BatchSums& sums) {
  BatchStep<Format> ahead[BATCH_DEPTH];
  for (uint i = 0; i < BATCH_DEPTH; i++) {
    fetch_batch_step<Format>(pair, place.lane, place.part + i * batch_parts, ahead[i]);
  }
  wait_for_inputs();
  clear(sums);
  for (uint step = place.part; step * BATCH_STEP_COLUMNS < batch_columns; step += batch_parts) {
    BatchStep<Format> now = ahead[0];
    for (uint i = 1; i < BATCH_DEPTH; i++) {
      ahead[i - 1] = ahead[i];
    }
    fetch_batch_step<Format>(pair, place.lane, step + BATCH_DEPTH * batch_parts, ahead[BATCH_DEPTH - 1]);
    accumulate_step(now, x, rows, batch_columns, step, place.lane, scratch, sums);
  }
}

// Puts all parts' sums into threadgroup memory. Afterwards batch_result() gives the first part's lanes the results.
inline void gather_batch(thread const BatchSums& sums, thread const BatchPlace& place, threadgroup uint4* memory) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  store_sums(sums, place.lane, (threadgroup float*)(memory + place.simdgroup * BATCH_TILE_VECTORS));
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

inline float batch_result(threadgroup const uint4* memory, thread const BatchPlace& place, uint tile, uint output,
                          uint row) {
  float total = 0.0f;
  for (uint part = 0; part < batch_parts; part++) {
    threadgroup const float* results =
        (threadgroup const float*)(memory + (place.simdgroup + part) * BATCH_TILE_VECTORS);
    total += results[(tile * TILE_OUTPUTS + output) * BATCH_TILE_ROWS + row];
  }
  return total;
}
