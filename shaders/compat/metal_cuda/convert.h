// The conversions of 16-bit floats that the GPU has instructions for; scalar.h uses them outside constant expressions.
#pragma once

namespace metal {
namespace cpu {

inline __attribute__((always_inline)) float half_to_float(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

inline __attribute__((always_inline)) unsigned short float_to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

inline __attribute__((always_inline)) unsigned short float_to_bfloat(float value) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

}  // namespace cpu
}  // namespace metal
