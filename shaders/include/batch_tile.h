// Tiles of sixteen outputs for up to eight rows of rounded inputs, which a simdgroup computes together from packed
// weights.
//
// Weights lie as in row_tile.h: lane l has chunk l % 4 of a step of four, of rows l / 4 and l / 4 + 8 of each tile.
// Inputs are those of rounded_rows.h. Here a lane keeps its parts of all rows, and four neighbouring lanes are added at
// the end. On NVIDIA a step is products of matrices: compat/metal_cuda/batch_tile.h.
#pragma once

#include "rounded_rows.h"
#include "row_tile_format.h"

constant constexpr uint BATCH_DEPTH = 2;  // steps whose weights are under way

#ifndef __SOFTMETAL_CUDA__

// VECTORS of 16 bytes are what a simdgroup needs of threadgroup memory, SLOT of them for a step under way; RESULTS
// floats lie between the rows of its results in there.
template <uint TILES>
struct BatchMemory {
  enum : uint { SLOT = 0, RESULTS = TILES * 16 + 4, VECTORS = TILES * 32 + 8 };
};

template <uint TILES>
struct BatchBits {
  uint4 words[TILES * 2];
};

// Starts to bring number i of a lane's vectors of a step.
template <uint TILES>
inline void fetch_bits(device const uint4* source, uint i, uint, threadgroup uint4*, thread BatchBits<TILES>& bits) {
  bits.words[i] = *source;
}
// All of a step's vectors are on their way; and: the oldest step has come.
inline void end_fetch() {}
inline void await_fetched() {}

template <uint TILES>
struct BatchSums {
  float2 rows[TILES][ROUNDED_ROWS];
};

template <uint TILES>
inline void clear(thread BatchSums<TILES>& sums) {
  for (uint i = 0; i < TILES * ROUNDED_ROWS; i++) {
    sums.rows[i / ROUNDED_ROWS][i % ROUNDED_ROWS] = float2(0.0f);
  }
}

// What a lane multiplies its weights of a step with: its own chunk of all rows; none beyond the last.
struct BatchInputs {
  device const uint4* chunk;
};

inline void load_inputs(device const uint4* rounded, uint chunks, uint step, uint lane, thread BatchInputs& inputs) {
  uint chunk = step * TILE_LANES + lane % TILE_LANES;
  inputs.chunk = chunk < chunks ? rounded + chunk * ROUNDED_VECTORS : nullptr;
}

inline int4 four_integers(uint upper, uint lower) {
  return int4(as_type<char4>(upper)) * 256 + int4(as_type<char4>(lower));
}

inline int row_dot(uint4 bits, device const uint4* row) {
  int4 sums = int4(0);
  uint4 shifts = uint4(0, 8, 16, 24);
  for (uint t = 0; t < 4; t++) {
    uint4 bytes = row[t];
    int4 low = int4((uint4(bits[t]) >> shifts) & 15) - 8;
    int4 high = int4((uint4(bits[t]) >> (shifts + 4)) & 15) - 8;
    sums += low * four_integers(bytes.x, bytes.z) + high * four_integers(bytes.y, bytes.w);
  }
  return (sums.x + sums.y) + (sums.z + sums.w);
}

// Adds a step's products. `Step` has `bits` and `format`.
template <uint TILES, typename Step>
inline void accumulate_step(thread const Step& now, thread const BatchInputs& inputs, threadgroup const uint4*, uint,
                            thread BatchSums<TILES>& sums) {
  if (inputs.chunk == nullptr) {
    return;
  }
  device const RoundedFacts* facts = (device const RoundedFacts*)(inputs.chunk + ROUNDED_BYTES);
  for (uint row = 0; row < ROUNDED_ROWS; row++) {
    float scale = facts[row].scale;
    float sum = scale * float(facts[row].sum);
    for (uint i = 0; i < TILES * 2; i++) {
      float product = now.format[i].scale() * scale * float(row_dot(now.bits.words[i], inputs.chunk + row * 4));
      sums.rows[i / 2][row][i % 2] += now.format[i].HAS_SHIFT ? product + now.format[i].shift() * sum : product;
    }
  }
}

// Result `tile`, `output`, `row` goes to place row * RESULTS + tile * 16 + output.
template <uint TILES>
inline void store_sums(thread const BatchSums<TILES>& sums, uint lane, threadgroup float* results) {
  for (uint tile = 0; tile < TILES; tile++) {
    for (uint row = 0; row < ROUNDED_ROWS; row++) {
      float2 total = sums.rows[tile][row];
      total += simd_shuffle_xor(total, 1);
      total += simd_shuffle_xor(total, 2);
      if (lane % TILE_LANES == 0) {
        uint place = row * BatchMemory<TILES>::RESULTS + tile * TILE_OUTPUTS + lane / TILE_LANES;
        results[place] = total.x;
        results[place + 8] = total.y;
      }
    }
  }
}

#endif
