// Blocks of weights as integers and their products with 16-bit inputs on NEON with dot products of bytes.
//
// An input is 256 high + low with both in int8, so two dot products of bytes give the product with 16 bits. No sum of
// a block leaves 32 bits: eight products of bytes in a lane, times 256.
#pragma once

#include "cpu/native/weights.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr float largest_input = 32512.0f;  // high reaches 127, and low from -128 on

// The inputs of one block.
struct BlockInputs {
  std::int8_t high[block_weights], low[block_weights];

  void set(std::uint32_t j, std::int32_t q) {
    const std::int32_t upper = (q + 128) >> 8;
    high[j] = static_cast<std::int8_t>(upper);
    low[j] = static_cast<std::int8_t>(q - upper * 256);
  }
};

// A block's integers: its first and its last sixteen. Unsigned until their zero is subtracted.
struct Halves {
  uint8x16_t first, last;
};

inline Halves load_nibbles(const unsigned char* low, std::uint64_t block) {
  const uint8x16_t bytes = vld1q_u8(low + block * 16);
  return {vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)};
}

inline Halves load_bytes(const unsigned char* low, std::uint64_t block) {
  return {vld1q_u8(low + block * 32), vld1q_u8(low + block * 32 + 16)};
}

// Adds `value` where the bits of `word` are set.
inline Halves add_high_bits(Halves q, std::uint32_t word, std::uint8_t value) {
  const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  const auto add = [&](uint8x16_t v, std::uint32_t half) {
    const uint8x16_t bytes =
        vcombine_u8(vdup_n_u8(static_cast<std::uint8_t>(half)), vdup_n_u8(static_cast<std::uint8_t>(half >> 8)));
    return vaddq_u8(v, vandq_u8(vtstq_u8(bytes, bits), vdupq_n_u8(value)));
  };
  return {add(q.first, word & 0xFFFFu), add(q.last, word >> 16)};
}

inline Halves subtract(Halves q, std::int32_t zero) {
  const uint8x16_t value = vdupq_n_u8(static_cast<std::uint8_t>(zero));
  return {vsubq_u8(q.first, value), vsubq_u8(q.last, value)};
}

// Products of sixteen weights with the first (side 0) or last inputs of a block, some added up in each lane.
inline IntVector products(uint8x16_t half, const BlockInputs& in, int side) {
  const int8x16_t q = vreinterpretq_s8_u8(half);
  const int32x4_t sum = vshlq_n_s32(vdotq_s32(vdupq_n_s32(0), q, vld1q_s8(in.high + side * 16)), 8);
  return reinterpret_cast<IntVector>(vdotq_s32(sum, q, vld1q_s8(in.low + side * 16)));
}

inline IntVector products(const Halves& q, const BlockInputs& in) {
  const int8x16_t first = vreinterpretq_s8_u8(q.first), last = vreinterpretq_s8_u8(q.last);
  int32x4_t sum = vdotq_s32(vdupq_n_s32(0), first, vld1q_s8(in.high));
  sum = vshlq_n_s32(vdotq_s32(sum, last, vld1q_s8(in.high + 16)), 8);
  sum = vdotq_s32(sum, first, vld1q_s8(in.low));
  return reinterpret_cast<IntVector>(vdotq_s32(sum, last, vld1q_s8(in.low + 16)));
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
