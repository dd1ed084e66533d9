// Pairs of bfloats in registers: floats split in two of them, nibbles made into them, and products of such matrices.
#pragma once

#include "../metal_cpu/scalar.h"
#include "matrix_16x16.h"

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
}  // namespace metal
