// shaders/include/batch_tile.h on NVIDIA: weights as the left operands of mma.m16n8k32, nibbles as bytes, the eight
// rows of inputs as the eight columns of the right ones, upper and lower bytes in two products.
//
// Asynchronous copies bring weights into slots of threadgroup memory, several steps ahead; ldmatrix then gives lane l
// what it has of a fragment: word l % 4 of every chunk of row l / 4. A step's row is four vectors of 16 bytes, in an
// order that lets eight rows of one chunk come from different banks. Sums of integers are exact; each chunk is summed
// by itself, since weights and inputs have scales of their own.
#pragma once

#include "matrix_16x16.h"
#include "row_tile.h"

namespace metal {

template <uint TILES>
struct BatchMemory {
  enum : uint {
    SLOT = TILES * 64,
    RESULTS = TILES * 16 + 4,
    VECTORS = 2 * SLOT,
  };
};

template <uint TILES>
struct BatchBits {};  // they are in threadgroup memory

namespace cuda {

// Where chunk `chunk` of a step lies in a slot, of row `row` counted through all tiles.
METAL_FUNC uint slot_place(uint row, uint chunk) { return row * 4 + (chunk ^ (row / 2 % 4)); }

}  // namespace cuda

template <uint TILES>
METAL_FUNC void fetch_bits(const uint4* source, uint i, uint lane, uint4* slot, BatchBits<TILES>&) {
  const uint target = cuda::shared_address(slot + cuda::slot_place(i * 8 + lane / 4, lane % 4));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(source) : "memory");
}

METAL_FUNC void end_fetch() { asm volatile("cp.async.commit_group;" ::: "memory"); }

METAL_FUNC void await_fetched() {
  asm volatile("cp.async.wait_group 1;" ::: "memory");
  ::__syncwarp();
}

template <uint TILES>
struct BatchSums {
  float elements[TILES][4];  // outputs l / 4 and l / 4 + 8 of rows l % 4 * 2 and the next
};

template <uint TILES>
METAL_FUNC void clear(BatchSums<TILES>& sums) {
#pragma unroll
  for (uint i = 0; i < TILES * 4; i++) sums.elements[i / 4][i % 4] = 0.0f;
}

// Of a step's four chunks: this lane's fragments, and the facts of rows l % 4 * 2 and the next.
struct BatchInputs {
  uint4 bytes[4];
  uint4 facts[4];
};

METAL_FUNC void load_inputs(const uint4* rounded, uint chunks, uint step, uint lane, BatchInputs& inputs) {
#pragma unroll
  for (uint c = 0; c < 4; c++) {
    const uint chunk = step * 4 + c;
    const uint4* source = rounded + (chunk < chunks ? chunk : chunks - 1) * 36;
    inputs.bytes[c] = source[lane];
    inputs.facts[c] = chunk < chunks ? source[32 + lane % 4] : uint4(0);
  }
}

namespace cuda {

// sums = a b of 16x32 bytes and 32x8 bytes, all with sign.
METAL_FUNC void multiply_signed_bytes(int* sums, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %10, %10, %10};"
      : "=r"(sums[0]), "=r"(sums[1]), "=r"(sums[2]), "=r"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1), "r"(0));
}

// Four nibbles less 8, each in the upper half of a byte, so that they count sixteen times.
METAL_FUNC uint sixteen_fold(uint upper_halves) { return (upper_halves & 0xF0F0F0F0u) ^ 0x80808080u; }

// Sixteen times the products of a chunk's words of rows l / 4 and l / 4 + 8 with its inputs.
METAL_FUNC void multiply_chunk(int* products, uint first, uint second, const uint4& bytes) {
  const uint a0 = sixteen_fold(first << 4), a1 = sixteen_fold(second << 4);
  const uint a2 = sixteen_fold(first), a3 = sixteen_fold(second);
  int upper[4], lower[4];
  multiply_signed_bytes(upper, a0, a1, a2, a3, bytes.x, bytes.y);
  multiply_signed_bytes(lower, a0, a1, a2, a3, bytes.z, bytes.w);
#pragma unroll
  for (uint i = 0; i < 4; i++) products[i] = upper[i] * 256 + lower[i];
}

}  // namespace cuda

// `Step` is BatchStep<Format, TILES>, which the shader declares.
template <uint TILES, typename Step>
METAL_FUNC void accumulate_step(const Step& now, const BatchInputs& inputs, const uint4* slot, uint lane,
                                BatchSums<TILES>& sums) {
  // ldmatrix: lanes 8 i to 8 i + 7 point to the rows of matrix i; rows 0 to 7 and 8 to 15 of a chunk, then of the next.
  const uint own_row = lane % 16, own_chunk = lane / 16;
#pragma unroll
  for (uint tile = 0; tile < TILES; tile++) {
    uint words[8];
#pragma unroll
    for (uint c = 0; c < 4; c += 2) {
      const uint4* source = slot + cuda::slot_place(tile * 16 + own_row, c + own_chunk);
      cuda::load_quarters(words + c * 2, cuda::shared_address(source));
    }
    const auto& first = now.format[tile * 2];
    const auto& second = now.format[tile * 2 + 1];
    float* const totals = sums.elements[tile];
#pragma unroll
    for (uint c = 0; c < 4; c++) {
      const uint4& facts = inputs.facts[c];
      const float input_scale = __builtin_bit_cast(float, facts.x), next_input = __builtin_bit_cast(float, facts.z);
      const float sixteenth = input_scale * 0.0625f, next_sixteenth = next_input * 0.0625f;
      int products[4];
      cuda::multiply_chunk(products, words[c * 2], words[c * 2 + 1], inputs.bytes[c]);
      const uint owner = lane / 4 * 4 + c;
      const float scale = ::__shfl_sync(cuda::all_lanes, first.scale(), owner);
      const float next_scale = ::__shfl_sync(cuda::all_lanes, second.scale(), owner);
      totals[0] += scale * sixteenth * static_cast<float>(products[0]);
      totals[1] += scale * next_sixteenth * static_cast<float>(products[1]);
      totals[2] += next_scale * sixteenth * static_cast<float>(products[2]);
      totals[3] += next_scale * next_sixteenth * static_cast<float>(products[3]);
      if (first.HAS_SHIFT) {
        const float shift = ::__shfl_sync(cuda::all_lanes, first.shift(), owner);
        const float next_shift = ::__shfl_sync(cuda::all_lanes, second.shift(), owner);
        const float inputs_sum = input_scale * static_cast<float>(static_cast<int>(facts.y));
        const float next_inputs_sum = next_input * static_cast<float>(static_cast<int>(facts.w));
        totals[0] += shift * inputs_sum;
        totals[1] += shift * next_inputs_sum;
        totals[2] += next_shift * inputs_sum;
        totals[3] += next_shift * next_inputs_sum;
      }
    }
  }
  ::__syncwarp();  // the slot is free
}

template <uint TILES>
METAL_FUNC void store_sums(const BatchSums<TILES>& sums, uint lane, float* results) {
#pragma unroll
  for (uint i = 0; i < TILES * 4; i++) {
    const uint output = i / 4 * 16 + lane / 4 + i / 2 % 2 * 8, row = lane % 4 * 2 + i % 2;
    results[row * BatchMemory<TILES>::RESULTS + output] = sums.elements[i / 4][i % 4];
  }
}

}  // namespace metal
