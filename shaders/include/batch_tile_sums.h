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
constant bool has_squares [[function_constant(3)]];  // inputs are still to be divided by their root mean square

// More than are launched: the limit is what tells compilers how many registers a thread may have.
constant constexpr uint BATCH_THREAD_LIMIT = 512;

// How many parts a threadgroup has at most, so that their memory fits it.
template <uint TILES>
struct BatchLimit {
  enum : uint { PARTS = 16 / TILES };
};

#define BATCH_TILE_MEMORY(TILES) threadgroup uint4 memory[BatchLimit<TILES>::PARTS * BatchMemory<TILES>::VECTORS]

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

// What a part's steps read besides their weights under way.
template <uint TILES>
struct BatchSource {
  BatchTiles<TILES> tiles;
  device const uint4* rounded;
  uint lane;
};

// One step, if there is one: its products, and the weights of a later one in its place. `next` gets the next step's
// inputs meanwhile.
template <typename Format, uint TILES>
inline void take_step(thread const BatchSource<TILES>& source, uint step, threadgroup uint4* slot,
                      thread BatchStep<Format, TILES>& ahead, thread const BatchInputs& inputs,
                      thread BatchInputs& next, thread BatchSums<TILES>& sums) {
  uint chunks = batch_columns / CHUNK_COLUMNS;
  if (step * BATCH_STEP_COLUMNS >= batch_columns) {
    return;
  }
  if ((step + batch_parts) * BATCH_STEP_COLUMNS < batch_columns) {
    load_inputs(source.rounded, chunks, step + batch_parts, source.lane, next);
  }
  await_fetched();
  accumulate_step<TILES>(ahead, inputs, slot, source.lane, sums);
  fetch_batch_step<Format, TILES>(source.tiles, source.lane, step + BATCH_DEPTH * batch_parts, slot, ahead);
}

// The weights of a part's first steps, which a kernel fetches before it waits for its inputs. Weights under way are
// never moved from one place to another, as that would wait for them.
template <typename Format, uint TILES>
struct BatchAhead {
  BatchStep<Format, TILES> even;
  BatchStep<Format, TILES> odd;
};

template <typename Format, uint TILES>
inline void fetch_first_steps(thread const BatchSource<TILES>& source, uint part, threadgroup uint4* slots,
                              thread BatchAhead<Format, TILES>& ahead) {
  threadgroup uint4* second_slot = slots + BatchMemory<TILES>::SLOT;
  fetch_batch_step<Format, TILES>(source.tiles, source.lane, part, slots, ahead.even);
  fetch_batch_step<Format, TILES>(source.tiles, source.lane, part + batch_parts, second_slot, ahead.odd);
}

// All of a part's steps over a group of rounded rows.
template <typename Format, uint TILES>
inline void accumulate_batch(thread const BatchSource<TILES>& source, uint part, threadgroup uint4* slots,
                             thread BatchAhead<Format, TILES>& ahead, thread BatchSums<TILES>& sums) {
  threadgroup uint4* second_slot = slots + BatchMemory<TILES>::SLOT;
  clear<TILES>(sums);
  BatchInputs even;
  BatchInputs odd;
  load_inputs(source.rounded, batch_columns / CHUNK_COLUMNS, part, source.lane, even);
  for (uint step = part; step * BATCH_STEP_COLUMNS < batch_columns; step += BATCH_DEPTH * batch_parts) {
    take_step<Format, TILES>(source, step, slots, ahead.even, even, odd, sums);
    take_step<Format, TILES>(source, step + batch_parts, second_slot, ahead.odd, odd, even, sums);
  }
}

// The scales of the rows of a group that a simdgroup finishes: number i is of row part + i * batch_parts.
struct FinishedRows {
  float scales[ROUNDED_ROWS];
};

// `rows` of the group are there, the first of them row number `first` of all.
inline void load_row_scales(device const float* squares, float eps, uint first, uint rows, uint part, uint lane,
                            thread FinishedRows& finished_rows) {
  for (uint i = 0; i < ROUNDED_ROWS; i++) {
    bool is_there = has_squares && i * batch_parts < ROUNDED_ROWS && part + i * batch_parts < rows;
    finished_rows.scales[i] =
        is_there ? row_scale(squares, batch_columns / ROUNDED_COLUMNS, first + part + i * batch_parts, lane, eps)
                 : 1.0f;
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
