// shaders/include/row_tile.h on NVIDIA: weights as the left operands of mma.m16n8k16, inputs as two bfloats each.
//
// An input is split into its bfloat and the bfloat of what is left: 16 bits and the sign, of float32's range. Each of
// the four lanes of a row multiplies a chunk of its own, with a scale of its own, so a chunk's inputs go to columns of
// the right operand that no other chunk uses: columns 2 t (upper parts) and 2 t + 1 (lower parts) belong to chunk t,
// and their sums arrive in the very lanes that hold chunk t.
#pragma once

#include "../metal_cpu/scalar.h"

namespace metal {
namespace cuda {

// Two bfloats in a register, `low` in the lower half.
METAL_FUNC uint two_bfloats(float low, float high) {
  uint both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

METAL_FUNC float low_bfloat(uint both) { return __uint_as_float(both << 16); }
METAL_FUNC float high_bfloat(uint both) { return __uint_as_float(both & 0xFFFF0000u); }

// What the bfloats in `both` leave of two floats.
METAL_FUNC uint two_rests(float low, float high, uint both) {
  return two_bfloats(low - low_bfloat(both), high - high_bfloat(both));
}

// The nibbles in the lowest bits of both halves, less 8.
METAL_FUNC uint two_nibbles(uint bits) {
  const uint plus_128 = (bits & 0x000F000Fu) | 0x43004300u;
  uint result;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(result) : "r"(plus_128), "r"(0x3F803F80u), "r"(0xC308C308u));
  return result;
}

METAL_FUNC void multiply_tile(float* sums, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
  const uint a[4] = {a0, a1, a2, a3};
  const uint b[2] = {b0, b1};
  multiply_16x8x16(bfloat(), sums, a, b);
}

}  // namespace cuda

// Right operands of the eight products of a chunk, two registers each.
struct TileInputs {
  uint4 pairs[4];
};

// Upper parts of a chunk's columns (side 0), then lower parts, as pairs of columns 0 and 2, 1 and 3 of each four: the
// order in which nibbles leave their bytes.
METAL_FUNC void stage_inputs(float4* staged, uint index, float4 values) {
  uint2* places = reinterpret_cast<uint2*>(staged) + index / 8 * 16 + index % 8;
  const uint2 upper(cuda::two_bfloats(values.x, values.z), cuda::two_bfloats(values.y, values.w));
  places[0] = upper;
  places[8] = uint2(cuda::two_rests(values.x, values.z, upper.x), cuda::two_rests(values.y, values.w, upper.y));
}

METAL_FUNC TileInputs load_inputs(const float4* staged, uint chunk, uint lane) {
  const uint4* places = reinterpret_cast<const uint4*>(staged) + chunk * 8 + lane / 4 % 2 * 4;
  const bool is_mine = lane / 8 == lane % 4;
  TileInputs inputs;
  for (uint i = 0; i < 4; i++) inputs.pairs[i] = is_mine ? places[i] : uint4(0);
  return inputs;
}

METAL_FUNC float2 tile_products(uint4 first, uint4 second, const TileInputs& inputs) {
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (uint i = 0; i < 4; i++) {
    const uint a = first[i], b = second[i];
    const uint4 low = inputs.pairs[i / 2], high = inputs.pairs[2 + i / 2];
    cuda::multiply_tile(sums, cuda::two_nibbles(a), cuda::two_nibbles(b), cuda::two_nibbles(a >> 8),
                        cuda::two_nibbles(b >> 8), i % 2 ? low.z : low.x, i % 2 ? low.w : low.y);
    cuda::multiply_tile(sums, cuda::two_nibbles(a >> 4), cuda::two_nibbles(b >> 4), cuda::two_nibbles(a >> 12),
                        cuda::two_nibbles(b >> 12), i % 2 ? high.z : high.x, i % 2 ? high.w : high.y);
  }
  return float2(sums[0] + sums[1], sums[2] + sums[3]);
}

}  // namespace metal
