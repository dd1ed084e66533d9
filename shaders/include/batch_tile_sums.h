// The sums of products of a few rows in tiles of sixteen outputs, from weights fetched ahead.
//
// A threadgroup has a few tiles; its simdgroups, the parts, share their columns: each takes every batch_parts-th step.
#pragma once

#include "batch_tile.h"
#include "early_start.h"

constant constexpr uint BATCH_STEP_COLUMNS = TILE_LANES * CHUNK_COLUMNS;

// A pipeline is made for one shape and cut, so that all counts are known when it is compiled.
constant uint batch_columns [[function_constant(0)]];
constant uint batch_parts [[function_constant(1)]];

constant constexpr uint MAX_BATCH_THREADS = 256;  // of two tiles

// How many parts a threadgroup has at most, so that their memory fits it.
template <uint TILES>
struct BatchLimit {
  enum : uint { PARTS = 16 / TILES };
};

#define BATCH_TILE_MEMORY(TILES) \
  threadgroup uint4 memory[BatchLimit<TILES>::PARTS * BatchMemory<TILES>::VECTORS]

// Where a simdgroup stands.
struct BatchPlace {
  uint lane;
  uint part;
};

// Tiles: of which matrices, and each one's first output.
template <uint TILES>
struct BatchTiles {
  Weights matrices[TILES];
  uint first_outputs[TILES];
  uint outputs;
};

// A lane's weights of one step: rows l / 4 and l / 4 + 8 of the first tile, then of the next.
template <typename Format, uint TILES>
struct BatchStep {
  BatchBits<TILES> bits;
  TileFormat<Format> format[TILES * 2];
};

template <typename Format, uint TILES>
inline void fetch_batch_step(thread const BatchTiles<TILES>& tiles, uint lane, uint step, threadgroup uint4* slot,
                             thread BatchStep<Format, TILES>& fetched) {
  uint chunks = batch_columns / CHUNK_COLUMNS;
  if (step * TILE_LANES < chunks) {
    // Chunks beyond the last and outputs beyond the last repeat those; there are no inputs beyond the last chunk.
    uint chunk = min(step * TILE_LANES + lane % TILE_LANES, chunks - 1);
    for (uint i = 0; i < TILES * 2; i++) {
      uint row = min(tiles.first_outputs[i / 2] + lane / TILE_LANES + i % 2 * 8, tiles.outputs - 1);
      fetch_bits<TILES>(plane<uint4>(tiles.matrices[i / 2], LOW) + (row * chunks + chunk), i, lane, slot, fetched.bits);
      fetched.format[i].load(tiles.matrices[i / 2], row, chunks, chunk);
    }
  }
  end_fetch();
}

// All of a part's steps over a group of rounded rows. What earlier kernels wrote is awaited here.
template <typename Format, uint TILES>
inline void accumulate_batch(thread const BatchTiles<TILES>& tiles, device const uint4* rounded,
                             thread const BatchPlace& place, threadgroup uint4* memory,
                             thread BatchSums<TILES>& sums) {
  constexpr uint DEPTH = BatchMemory<TILES>::DEPTH;
  constexpr uint SLOT = BatchMemory<TILES>::SLOT;
  uint chunks = batch_columns / CHUNK_COLUMNS;
  BatchStep<Format, TILES> ahead[DEPTH];
  for (uint i = 0; i < DEPTH; i++) {
    fetch_batch_step<Format, TILES>(tiles, place.lane, place.part + i * batch_parts, memory + i * SLOT, ahead[i]);
  }
  wait_for_inputs();
  clear<TILES>(sums);
  BatchInputs next;
  load_inputs(rounded, chunks, place.part, place.lane, next);
  uint slot = 0;
  for (uint step = place.part; step * BATCH_STEP_COLUMNS < batch_columns; step += batch_parts) {
    BatchStep<Format, TILES> now = ahead[0];
    for (uint i = 1; i < DEPTH; i++) {
      ahead[i - 1] = ahead[i];
    }
    BatchInputs inputs = next;
    if ((step + batch_parts) * BATCH_STEP_COLUMNS < batch_columns) {
      load_inputs(rounded, chunks, step + batch_parts, place.lane, next);
    }
    await_fetched<TILES>();
    accumulate_step<TILES>(now, inputs, memory + slot * SLOT, place.lane, sums);
    fetch_batch_step<Format, TILES>(tiles, place.lane, step + DEPTH * batch_parts, memory + slot * SLOT,
                                    ahead[DEPTH - 1]);
    slot = slot + 1 == DEPTH ? 0 : slot + 1;
  }
}

// Puts all parts' sums into threadgroup memory, where batch_result() finds them.
template <uint TILES>
inline void gather_batch(thread const BatchSums<TILES>& sums, thread const BatchPlace& place,
                         threadgroup uint4* memory) {
  threadgroup_barrier(mem_flags::mem_threadgroup);
  store_sums<TILES>(sums, place.lane, (threadgroup float*)(memory + place.part * BatchMemory<TILES>::VECTORS));
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

// `output` counts through all tiles.
template <uint TILES>
inline float batch_result(threadgroup const uint4* memory, uint output, uint row) {
  float total = 0.0f;
  for (uint part = 0; part < batch_parts; part++) {
    threadgroup const float* results = (threadgroup const float*)(memory + part * BatchMemory<TILES>::VECTORS);
    total += results[row * BatchMemory<TILES>::RESULTS + output];
  }
  return total;
}
