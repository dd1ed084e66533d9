// shaders/include/row_tile.h on NVIDIA: weights as the left operands of mma.m16n8k32, nibbles as they are.
//
// The inputs of a chunk become integers of 16 bits with a scale of their own, each split into two bytes, upper and
// lower. Each of the four lanes of a row multiplies a chunk of its own, so a chunk's inputs go to columns of the right
// operand that no other chunk uses: columns 2 t (upper bytes) and 2 t + 1 (lower bytes) belong to chunk t, and their
// sums arrive in the very lanes that hold chunk t. Sums of integers are exact; what a chunk's largest input divided by
// 65024 rounds off is all that is lost.
#pragma once

#include "../metal_cpu/scalar.h"

namespace metal {
namespace cuda {

constexpr float largest_integer = 32512.0f;  // 127 * 256: its upper byte is rounded to 127
constexpr float smallest_largest = 1e-30f;   // a chunk of smaller inputs counts as zeros

METAL_FUNC float max_or_nan(float a, float b) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(a), "f"(b));
  return larger;
}

// To a unit of the last place or two.
METAL_FUNC float reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// sums += a b of 16x32 bytes without sign and 32x8 bytes with sign.
METAL_FUNC void multiply_bytes(int* sums, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Bytes 0 to 3 of a word from the lowest bytes of four.
METAL_FUNC uint four_bytes(int a, int b, int c, int d) {
  return __byte_perm(__byte_perm(uint(a), uint(b), 0x0040), __byte_perm(uint(c), uint(d), 0x0040), 0x5410);
}

}  // namespace cuda

constexpr uint STAGED_COLUMNS = 12288;

// Upper and lower bytes lie apart: a chunk is 32 upper ones, then 32 lower ones.
using StagedFour = uint2;
struct StagedFacts {
  float scale;
  int sum;  // of the integers
};

struct TileInputs {
  uint4 low;   // of the words of nibbles in the lower halves of bytes
  uint4 high;  // in the upper halves
  StagedFacts facts;
};

METAL_FUNC TileInputs no_inputs() { return {uint4(0), uint4(0), {0.0f, 0}}; }

template <bool>
METAL_FUNC void stage_inputs(StagedFour* staged, StagedFacts* facts, uint index, float4 values) {
  float largest =
      cuda::max_or_nan(cuda::max_or_nan(abs(values.x), abs(values.y)), cuda::max_or_nan(abs(values.z), abs(values.w)));
  for (uint distance = 1; distance < 8; distance *= 2) {
    largest = cuda::max_or_nan(largest, ::__shfl_xor_sync(cuda::all_lanes, largest, distance));
  }
  const float inverse = largest > cuda::smallest_largest ? cuda::largest_integer * cuda::reciprocal(largest) : 0.0f;
  int integers[4], uppers[4];
  int sum = 0;
  for (uint i = 0; i < 4; i++) {
    integers[i] = ::__float2int_rn(values[i] * inverse);
    uppers[i] = (integers[i] + 128) >> 8;
    sum += integers[i];
  }
  for (uint distance = 1; distance < 8; distance *= 2) {
    sum += ::__shfl_xor_sync(cuda::all_lanes, sum, distance);
  }
  uint* words = reinterpret_cast<uint*>(staged) + index / 8 * 16 + index % 8;
  words[0] = cuda::four_bytes(uppers[0], uppers[1], uppers[2], uppers[3]);
  words[8] = cuda::four_bytes(integers[0], integers[1], integers[2], integers[3]);
  if (index % 8 == 0) facts[index / 8] = {largest * (1.0f / cuda::largest_integer), sum};
}

// Only the lanes whose columns of the right operand are a chunk's own bytes have any; the others keep their zeros.
template <bool>
METAL_FUNC void load_inputs(const StagedFour* staged, const StagedFacts* facts, uint chunk, uint lane,
                            TileInputs& inputs) {
  if (lane / 8 == lane % 4) {
    const uint4* places = reinterpret_cast<const uint4*>(staged) + chunk * 4 + lane / 4 % 2 * 2;
    inputs.low = places[0];
    inputs.high = places[1];
  }
  inputs.facts = facts[chunk];
}

METAL_FUNC float sum_of(const TileInputs& inputs) { return inputs.facts.scale * static_cast<float>(inputs.facts.sum); }

METAL_FUNC float2 tile_products(uint4 first, uint4 second, const TileInputs& inputs) {
  constexpr uint nibbles = 0x0F0F0F0Fu;
  int sums[4] = {0, 0, 0, 0};
  for (uint i = 0; i < 4; i++) {
    cuda::multiply_bytes(sums, first[i] & nibbles, second[i] & nibbles, first[i] >> 4 & nibbles,
                         second[i] >> 4 & nibbles, inputs.low[i], inputs.high[i]);
  }
  const int eights = 8 * inputs.facts.sum;
  return inputs.facts.scale * float2(static_cast<float>(sums[0] * 256 + sums[1] - eights),
                                     static_cast<float>(sums[2] * 256 + sums[3] - eights));
}

}  // namespace metal
