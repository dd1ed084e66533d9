// The softmax of attention over tiles: sixteen rows of scores that a simdgroup holds as matrices.
//
// A tile is what the threadgroup has in its memory of keys or values, in vectors of 16 bytes. Where it lies, how it
// gets there and who multiplies it is different on NVIDIA's GPUs: compat/metal_cuda/attention_tile.h.
//
// Scores are logarithms to base two. Each row keeps its best score and the sum of its weights so far (Milakov and
// Gimelshein 2018). Everywhere but on NVIDIA the matrices pass through threadgroup memory, where two lanes share a row;
// NVIDIA's lanes know which elements they hold: compat/metal_cuda/attention_tile.h.
#pragma once

#include "matrix_16x16.h"
#include "soft_cap.h"

#ifndef __SOFTMETAL_CUDA__

constant constexpr float LOWEST_TILE_SCORE = -3.0e38f;

// Each simdgroup multiplies its own rows, and leaves out tiles of which they see nothing.
struct BySimdgroup {
  enum : uint { LEAVES_OUT_TILES = 1 };
};

// KEYS positions, SIZE vectors in all; memory for tiles has ALIGNMENT vectors more, see first_tile().
template <uint HEAD_DIM>
struct TileShape {
  typedef BySimdgroup Way;
  enum : uint { VECTORS = HEAD_DIM / 8, KEYS = HEAD_DIM < 192 ? 32 : 16, SIZE = KEYS * (VECTORS + 1), ALIGNMENT = 0 };
  static uint place(uint key, uint vector) { return key * (VECTORS + 1) + vector; }
};

inline threadgroup uint4* first_tile(BySimdgroup, threadgroup uint4* memory) { return memory; }

// Whether what a cache of this type stores is copied as it is; finish_tile() ends the copies, or stores, of a thread.
template <typename C>
struct TileCopy {
  enum : uint { IS_DIRECT = 0 };
};
inline void copy_to_tile(threadgroup uint4* target, device const uint4* source, bool is_there) {
  *target = is_there ? *source : uint4(0);
}
inline void finish_tile() {}

// Floats of threadgroup memory that a simdgroup needs for PARTS matrices of scores.
template <uint PARTS>
struct TileScratch {
  enum : uint { SIZE = PARTS * 256 + 128 };
};

// Of row lane / 2. `visible`: the positions that it sees, [x, y).
struct TileRow {
  uint2 visible;
  float best;
  float total;
};

inline void begin_rows(thread TileRow& row, threadgroup const uint2* visible, uint lane) {
  row = {visible[lane / 2], LOWEST_TILE_SCORE, 0.0f};
}

// A score, the same for all rows, that takes weight and has no value; called right after begin_rows.
inline void add_sink(thread TileRow& row, float sink, uint lane) {
  row.best = sink;
  row.total = lane % 2 == 0 ? 1.0f : 0.0f;
}

template <uint PARTS>
inline void cap_scores(thread SumMatrix* scores, float cap) {
  for (uint i = 0; i < PARTS; i++) {
    for (uint part = 0; part < 4; part++) {
      scores[i].parts[part].thread_elements()[0] = capped(scores[i].parts[part].thread_elements()[0], cap);
      scores[i].parts[part].thread_elements()[1] = capped(scores[i].parts[part].thread_elements()[1], cap);
    }
  }
}

// Turns the scores of PARTS * 16 positions from `first` on into weights, and scales `sums` down to the new best scores.
// `is_whole`: all rows see all of them.
template <typename T, uint PARTS, uint SUMS>
inline void weigh(thread const SumMatrix* scores, uint first, bool is_whole, thread TileRow& row,
                  thread LeftMatrix<T>* weights, thread SumMatrix* sums, threadgroup float* scratch, uint lane) {
  constexpr uint COLUMNS = PARTS * 16;
  for (uint i = 0; i < PARTS; i++) {
    store_sum(scores[i], scratch + i * 16, COLUMNS);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  float values[COLUMNS / 2];
  float best = row.best;
  for (uint i = 0; i < COLUMNS / 2; i++) {
    uint column = lane % 2 * (COLUMNS / 2) + i;
    bool is_visible = is_whole || (first + column >= row.visible.x && first + column < row.visible.y);
    values[i] = is_visible ? scratch[lane / 2 * COLUMNS + column] : LOWEST_TILE_SCORE;
    best = max(best, values[i]);
  }
  best = max(best, simd_shuffle_xor(best, 1));
  float base = best == LOWEST_TILE_SCORE ? 0.0f : best;
  float factor = exp2(row.best - base);
  row.best = best;
  row.total *= factor;
  simdgroup_barrier(mem_flags::mem_threadgroup);
  threadgroup T* rounded = (threadgroup T*)scratch;
  for (uint i = 0; i < COLUMNS / 2; i++) {
    float weight = exp2(values[i] - base);
    row.total += weight;
    rounded[lane / 2 * COLUMNS + lane % 2 * (COLUMNS / 2) + i] = T(weight);
  }
  // Two diagonal matrices with the rows' factors.
  threadgroup float* diagonal = scratch + PARTS * 256;
  for (uint i = 0; i < 4; i++) {
    diagonal[i * 32 + lane] = 0.0f;
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (lane % 2 == 0) {
    diagonal[lane / 16 * 64 + lane / 2 % 8 * 9] = factor;
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint i = 0; i < PARTS; i++) {
    load_left(weights[i], rounded + i * 16, COLUMNS);
  }
  if (simd_any(factor != 1.0f)) {
    simdgroup_float8x8 factors[2];
    simdgroup_load(factors[0], diagonal, 8);
    simdgroup_load(factors[1], diagonal + 64, 8);
    for (uint i = 0; i < SUMS; i++) {
      for (uint part = 0; part < 4; part++) {
        simdgroup_multiply(sums[i].parts[part], factors[part / 2], sums[i].parts[part]);
      }
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}

// What each of the sixteen rows' sums are to be multiplied with at the end.
inline void store_inverse_totals(thread const TileRow& row, threadgroup float* inverse, uint lane) {
  float total = row.total + simd_shuffle_xor(row.total, 1);
  if (lane % 2 == 0) {
    inverse[lane / 2] = 1.0f / total;
  }
}

// Each of the sixteen rows' best score, then each one's sum of weights.
inline void store_states(thread const TileRow& row, threadgroup float* states, uint lane) {
  float total = row.total + simd_shuffle_xor(row.total, 1);
  if (lane % 2 == 0) {
    states[lane / 2] = row.best;
    states[16 + lane / 2] = total;
  }
}

#endif

// Scores of a tile of keys: each KEYS / 16 matrices.
template <typename T, uint HEAD_DIM>
inline void multiply_keys(BySimdgroup, thread LeftMatrix<T>* queries, threadgroup const uint4* tile,
                          thread SumMatrix* scores) {
  typedef TileShape<HEAD_DIM> Shape;
  constexpr uint STRIDE = HEAD_DIM + 8;
  threadgroup const T* keys = (threadgroup const T*)tile;
#pragma unroll
  for (uint i = 0; i < Shape::KEYS / 16; i++) {
    fill_zero(scores[i]);
  }
#pragma unroll
  for (uint k = 0; k < HEAD_DIM / 16; k++) {
#pragma unroll
    for (uint i = 0; i < Shape::KEYS / 16; i++) {
      RightMatrix<T> right;
      load_right_transposed(right, keys + i * 16 * STRIDE + k * 16, STRIDE);
      multiply_accumulate(scores[i], queries[k], right);
    }
  }
}

// Adds a tile of values by their weights.
template <typename T, uint HEAD_DIM>
inline void add_values(BySimdgroup, thread LeftMatrix<T>* weights, threadgroup const uint4* tile,
                       thread SumMatrix* sums) {
  typedef TileShape<HEAD_DIM> Shape;
  constexpr uint STRIDE = HEAD_DIM + 8;
  threadgroup const T* values = (threadgroup const T*)tile;
#pragma unroll
  for (uint i = 0; i < HEAD_DIM / 16; i++) {
#pragma unroll
    for (uint k = 0; k < Shape::KEYS / 16; k++) {
      RightMatrix<T> right;
      load_right(right, values + k * 16 * STRIDE + i * 16, STRIDE);
      multiply_accumulate(sums[i], weights[k], right);
    }
  }
}
