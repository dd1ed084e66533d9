// Products of many rows: a threadgroup dequantises a tile of weights to bfloat once and multiplies ROWS rows with it.
//
// A tile is ROWS of x and COUNT rows of weights, BLOCK columns at a time. Half of the threads bring x, the others
// weights, one step ahead in registers. Sums are float32. bfloat keeps float32's range, which activations need.
#pragma once

#include "matmul_args.h"
#include "matrix_16x16.h"
#include "quant.h"

constant constexpr uint MANY_STRIDE = WEIGHTS_PER_BLOCK + 8;  // elements between rows of a tile
constant constexpr uint MANY_PART_OUTPUTS = 32;               // outputs of a simdgroup

// What a thread has under way.
struct Fetched {
  float4 values[8];
};

// Vectors of 16 bytes for a row of both tiles; the simdgroups' sums fit in as well.
constant constexpr uint MANY_VECTORS = 2 * MANY_STRIDE / 8;

// This thread's share of SIDE rows of plain numbers: eight lanes share 32 columns of a row.
template <uint SIDE, typename T, typename Rows>
inline void fetch_plain(thread const Rows& rows, uint columns, uint column, uint thread_index, thread Fetched& out) {
  uint offset = column + thread_index % 8 * 4;
  bool is_whole = columns % 4 == 0 && offset < columns;
  for (uint i = 0; i < 8; i++) {
    device const T* source = rows.row(i * (SIDE / 8) + thread_index / 8) + offset;
    float4 values = float4(0.0f);
    if (is_whole) {
      values = float4(*(device const vec<T, 4>*)source);
    } else {
      for (uint j = 0; j < 4; j++) {
        values[j] = offset + j < columns ? float(source[j]) : 0.0f;
      }
    }
    out.values[i] = values;
  }
}

constant bool reads_bfloat [[function_constant(10)]];  // x has been rounded by the kernel that made it

// The rows of x that a tile multiplies; those beyond the last repeat it. x holds bfloats if `is_bfloat` is set.
struct InputRows {
  device const float* x;
  uint first;
  uint rows;
  uint columns;
  bool is_bfloat;
  ulong index(uint number) const thread { return min(first + number, rows - 1); }
};

// Such rows by the type that they have.
template <typename T, typename Inputs>
struct TypedInputs {
  Inputs inputs;
  device const T* row(uint number) const thread {
    return (device const T*)inputs.x + inputs.index(number) * inputs.columns;
  }
};

// This thread's share of SIDE rows of x. `inputs` has the members of InputRows.
template <uint SIDE, typename T, typename Inputs>
inline void fetch_inputs(thread const Inputs& inputs, uint column, uint thread_index, thread Fetched& out) {
  TypedInputs<T, Inputs> typed = {inputs};
  fetch_plain<SIDE, T>(typed, inputs.columns, column, thread_index, out);
}

template <uint SIDE>
inline void keep_plain(thread const Fetched& fetched, uint thread_index, threadgroup bfloat* tile) {
  for (uint i = 0; i < 8; i++) {
    uint row = i * (SIDE / 8) + thread_index / 8;
    *(threadgroup bfloat4*)(tile + row * MANY_STRIDE + thread_index % 8 * 4) = bfloat4(fetched.values[i]);
  }
}

// The rows of one matrix that a tile multiplies; those beyond the last repeat it.
struct MatmulRows {
  Weights all;
  uint first;
  uint outputs;
  Weights weights(uint) const thread { return all; }
  ulong index(uint number) const thread { return min(first + number, outputs - 1); }
};

// How threads share the rows of weights. Each thread dequantises a block of a row of its own.
// `Rows` has `weights(number)` and `index(number)`: where a row of the tile comes from.
template <typename Format>
struct WeightTile {
  template <uint SIDE, typename Rows>
  static void fetch(thread const Rows& rows, uint columns, uint column, uint thread_index, thread Fetched& out) {
    Weights weights = rows.weights(thread_index);
    Format::load(weights, rows.index(thread_index), columns, column / WEIGHTS_PER_BLOCK, out.values);
  }

  template <uint SIDE>
  static void keep(thread const Fetched& fetched, uint thread_index, threadgroup bfloat* tile) {
    for (uint i = 0; i < 8; i++) {
      *(threadgroup bfloat4*)(tile + thread_index * MANY_STRIDE + i * 4) = bfloat4(fetched.values[i]);
    }
  }
};

template <typename T, typename Rows>
struct PlainRows {
  Rows rows;
  uint columns;
  device const T* row(uint number) const thread {
    Weights weights = rows.weights(number);
    return plane<T>(weights, LOW) + rows.index(number) * columns;
  }
};

template <typename T>
struct WeightTile<Float<T>> {
  template <uint SIDE, typename Rows>
  static void fetch(thread const Rows& rows, uint columns, uint column, uint thread_index, thread Fetched& out) {
    PlainRows<T, Rows> plain = {rows, columns};
    fetch_plain<SIDE, T>(plain, columns, column, thread_index, out);
  }

  template <uint SIDE>
  static void keep(thread const Fetched& fetched, uint thread_index, threadgroup bfloat* tile) {
    keep_plain<SIDE>(fetched, thread_index, tile);
  }
};

// Two simdgroups share the rows of a tile, SIDE / 32 its outputs.
template <uint SIDE>
inline uint many_part_row(uint simdgroup) {
  return simdgroup % 2 * (SIDE / 2);
}

// A simdgroup's part of the product of the two tiles: PARTS x 2 sums of 16x16.
template <uint PARTS>
inline void multiply_tiles(threadgroup const bfloat* inputs, threadgroup const bfloat* weights,
                           thread SumMatrix* sums) {
#pragma unroll
  for (uint k = 0; k < WEIGHTS_PER_BLOCK; k += 16) {
    RightMatrix<bfloat> right[2];
#pragma unroll
    for (uint j = 0; j < 2; j++) {
      load_right_transposed(right[j], weights + j * 16 * MANY_STRIDE + k, MANY_STRIDE);
    }
#pragma unroll
    for (uint i = 0; i < PARTS; i++) {
      LeftMatrix<bfloat> left;
      load_left(left, inputs + i * 16 * MANY_STRIDE + k, MANY_STRIDE);
#pragma unroll
      for (uint j = 0; j < 2; j++) {
        multiply_accumulate(sums[i * 2 + j], left, right[j]);
      }
    }
  }
}

// All sums of a square tile. What a thread fetches for the next step is under way while this one is multiplied.
// `inputs` has the members of InputRows; `range` is which columns count, the first a multiple of 32.
template <uint SIDE, typename Format, typename Rows, typename Inputs>
inline void multiply_many(thread const Rows& rows, thread const Inputs& inputs, uint2 range, uint thread_index,
                          uint simdgroup, threadgroup float4* memory, thread SumMatrix* sums) {
  threadgroup bfloat* input_tile = (threadgroup bfloat*)memory;
  threadgroup bfloat* weight_tile = input_tile + SIDE * MANY_STRIDE;
  bool brings_weights = thread_index < SIDE;
  uint share = thread_index % SIDE;
  uint part_row = many_part_row<SIDE>(simdgroup);
  bool is_inside = inputs.first + part_row < inputs.rows;
#pragma unroll
  for (uint i = 0; i < SIDE / 16; i++) {
    fill_zero(sums[i]);
  }
  uint end = (range.y + WEIGHTS_PER_BLOCK - 1) / WEIGHTS_PER_BLOCK * WEIGHTS_PER_BLOCK;
  Fetched fetched;
  for (uint column = range.x; column < end + WEIGHTS_PER_BLOCK; column += WEIGHTS_PER_BLOCK) {
    if (column > range.x) {
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (brings_weights) {
        WeightTile<Format>::template keep<SIDE>(fetched, share, weight_tile);
      } else {
        keep_plain<SIDE>(fetched, share, input_tile);
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (column < range.y) {
      if (brings_weights) {
        WeightTile<Format>::template fetch<SIDE>(rows, inputs.columns, column, share, fetched);
      } else if (inputs.is_bfloat) {
        fetch_inputs<SIDE, bfloat>(inputs, column, share, fetched);
      } else {
        fetch_inputs<SIDE, float>(inputs, column, share, fetched);
      }
    }
    if (column > range.x && is_inside) {
      multiply_tiles<SIDE / 32>(input_tile + part_row * MANY_STRIDE,
                                weight_tile + simdgroup / 2 * MANY_PART_OUTPUTS * MANY_STRIDE, sums);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

template <uint SIDE, typename Format, typename Rows, typename Inputs>
inline void multiply_many(thread const Rows& rows, thread const Inputs& inputs, uint thread_index, uint simdgroup,
                          threadgroup float4* memory, thread SumMatrix* sums) {
  multiply_many<SIDE, Format>(rows, inputs, uint2(0, inputs.columns), thread_index, simdgroup, memory, sums);
}
