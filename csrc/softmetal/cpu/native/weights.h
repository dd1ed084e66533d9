// Dequantisation of one block of 32 weights to float, format by format; the native twin of shaders/include/quant.h.
#pragma once

#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t block_weights = 32;
constexpr std::uint32_t super_block_blocks = 8;

// The planes of one tensor; see python/fastgo/assets/quant.py.
struct Planes {
  Planes(const void* base, const std::uint32_t* offsets)
      : low(at(base, offsets[0])),
        high(at(base, offsets[1])),
        scales(at(base, offsets[2])),
        mins(at(base, offsets[3])),
        super_scales(at(base, offsets[4])),
        super_mins(at(base, offsets[5])),
        has_zero_points(offsets[3] != 0),
        group_blocks(offsets[4]) {}

  static const unsigned char* at(const void* base, std::uint32_t offset) {
    return static_cast<const unsigned char*>(base) + static_cast<std::uint64_t>(offset) * 64;
  }

  const unsigned char *low, *high, *scales, *mins, *super_scales, *super_mins;
  // Of our own formats only: zero points stand in `mins`; blocks that share a scale.
  bool has_zero_points;
  std::uint32_t group_blocks;
};

inline float half_at(const unsigned char* plane, std::uint64_t index) {
  std::uint16_t bits;
  std::memcpy(&bits, plane + index * 2, sizeof bits);
  return half_to_float(bits);
}

inline std::uint32_t word_at(const unsigned char* plane, std::uint64_t index) {
  std::uint32_t word;
  std::memcpy(&word, plane + index * 4, sizeof word);
  return word;
}

inline void unpack_nibbles(const unsigned char* bytes, std::int32_t* q) {
  for (int j = 0; j < 16; j++) {
    q[j] = bytes[j] & 15;
    q[j + 16] = bytes[j] >> 4;
  }
}

inline void add_high_bits(std::uint32_t bits, int shift, std::int32_t* q) {
  for (int j = 0; j < 32; j++) q[j] |= static_cast<std::int32_t>(bits >> j & 1) << shift;
}

// The float of each weight of a block is scale * (q - zero) + shift, and each format gives q, zero, scale and shift.
struct Affine {
  float scale, shift;
};

struct Q8_0 {
  static constexpr std::int32_t zero = 0;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) {
    const auto* bytes = reinterpret_cast<const std::int8_t*>(p.low) + block * 32;
    for (int j = 0; j < 32; j++) q[j] = bytes[j];
  }
  static Affine affine(const Planes& p, std::uint64_t block) { return {half_at(p.scales, block), 0.0f}; }
};

struct Q4_0 {
  static constexpr std::int32_t zero = 8;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) { unpack_nibbles(p.low + block * 16, q); }
  static Affine affine(const Planes& p, std::uint64_t block) { return {half_at(p.scales, block), 0.0f}; }
};

struct Q4_1 {
  static constexpr std::int32_t zero = 0;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) { unpack_nibbles(p.low + block * 16, q); }
  static Affine affine(const Planes& p, std::uint64_t block) {
    return {half_at(p.scales, block), half_at(p.mins, block)};
  }
};

struct Q5_0 {
  static constexpr std::int32_t zero = 16;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) {
    unpack_nibbles(p.low + block * 16, q);
    add_high_bits(word_at(p.high, block), 4, q);
  }
  static Affine affine(const Planes& p, std::uint64_t block) { return {half_at(p.scales, block), 0.0f}; }
};

struct Q5_1 {
  static constexpr std::int32_t zero = 0;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) { Q5_0::integers(p, block, q); }
  static Affine affine(const Planes& p, std::uint64_t block) { return Q4_1::affine(p, block); }
};

struct Q4_K {
  static constexpr std::int32_t zero = 0;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) { unpack_nibbles(p.low + block * 16, q); }
  static Affine affine(const Planes& p, std::uint64_t block) {
    const std::uint64_t super_block = block / super_block_blocks;
    return {half_at(p.super_scales, super_block) * static_cast<float>(p.scales[block]),
            -(half_at(p.super_mins, super_block) * static_cast<float>(p.mins[block]))};
  }
};

struct Q5_K {
  static constexpr std::int32_t zero = 0;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) { Q5_0::integers(p, block, q); }
  static Affine affine(const Planes& p, std::uint64_t block) { return Q4_K::affine(p, block); }
};

// Sixteen weights a scale.
struct Q6_K {
  static constexpr std::int32_t zero = 32;
  static void integers(const Planes& p, std::uint64_t block, std::int32_t* q) {
    unpack_nibbles(p.low + block * 16, q);
    add_high_bits(word_at(p.high, block * 2), 4, q);
    add_high_bits(word_at(p.high, block * 2 + 1), 5, q);
  }
  static float scale(const Planes& p, std::uint64_t block, int side) {
    const auto* scales = reinterpret_cast<const std::int8_t*>(p.scales);
    return half_at(p.super_scales, block / super_block_blocks) * static_cast<float>(scales[block * 2 + side]);
  }
};

// Writes the 32 weights of block `block` of row `row`; beyond the row's end, zeros.
template <typename Format>
struct BlockLoader {
  static void load(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block, float* out) {
    const std::uint64_t index = row * (columns / block_weights) + block;
    std::int32_t q[32];
    Format::integers(p, index, q);
    const Affine affine = Format::affine(p, index);
    for (int j = 0; j < 32; j++) {
      out[j] = static_cast<float>(q[j] - Format::zero) * affine.scale + affine.shift;
    }
  }
};

template <>
struct BlockLoader<Q6_K> {
  static void load(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block, float* out) {
    const std::uint64_t index = row * (columns / block_weights) + block;
    std::int32_t q[32];
    Q6_K::integers(p, index, q);
    const float scales[2] = {Q6_K::scale(p, index, 0), Q6_K::scale(p, index, 1)};
    for (int j = 0; j < 32; j++) out[j] = static_cast<float>(q[j] - Q6_K::zero) * scales[j / 16];
  }
};

// Our own integers: the scale and the zero point of a group of blocks.
struct Int8 {};
struct Int4 {};

inline std::uint64_t group_index(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  return row * (columns / block_weights / p.group_blocks) + block / p.group_blocks;
}

template <>
struct BlockLoader<Int8> {
  static void load(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block, float* out) {
    const std::uint64_t group = group_index(p, row, columns, block);
    const std::int32_t zero = p.has_zero_points ? reinterpret_cast<const std::int8_t*>(p.mins)[group] : 0;
    const float scale = half_at(p.scales, group);
    const auto* q = reinterpret_cast<const std::int8_t*>(p.low) + (row * (columns / block_weights) + block) * 32;
    for (int j = 0; j < 32; j++) out[j] = static_cast<float>(q[j] - zero) * scale;
  }
};

template <>
struct BlockLoader<Int4> {
  static void load(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block, float* out) {
    const std::uint64_t group = group_index(p, row, columns, block);
    const std::int32_t zero = p.has_zero_points ? p.mins[group] : 8;
    const float scale = half_at(p.scales, group);
    std::int32_t q[32];
    unpack_nibbles(p.low + (row * (columns / block_weights) + block) * 16, q);
    for (int j = 0; j < 32; j++) out[j] = static_cast<float>(q[j] - zero) * scale;
  }
};

struct F32 {
  using Element = float;
  static float to_float(float x) { return x; }
};
struct F16 {
  using Element = std::uint16_t;
  static float to_float(std::uint16_t x) { return half_to_float(x); }
};
struct BF16 {
  using Element = std::uint16_t;
  static float to_float(std::uint16_t x) { return bfloat_to_float(x); }
};

template <typename Format>
struct FloatLoader {
  static void load(const Planes& p, std::uint64_t row, std::uint32_t columns, std::uint32_t block, float* out) {
    const auto* values =
        reinterpret_cast<const typename Format::Element*>(p.low) + row * columns + block * block_weights;
    const std::uint32_t left = columns - block * block_weights;
    const std::uint32_t count = left < block_weights ? left : block_weights;
    for (std::uint32_t j = 0; j < count; j++) out[j] = Format::to_float(values[j]);
    for (std::uint32_t j = count; j < block_weights; j++) out[j] = 0.0f;
  }
};

template <>
struct BlockLoader<F32> : FloatLoader<F32> {};
template <>
struct BlockLoader<F16> : FloatLoader<F16> {};
template <>
struct BlockLoader<BF16> : FloatLoader<BF16> {};

// Dequantises a whole row into `out`, padded with zeros to a multiple of 32.
template <typename Format>
inline void load_row(const Planes& p, std::uint64_t row, std::uint32_t columns, float* out) {
  const std::uint32_t blocks = (columns + block_weights - 1) / block_weights;
  for (std::uint32_t b = 0; b < blocks; b++) BlockLoader<Format>::load(p, row, columns, b, out + b * block_weights);
}

// Calls MACRO(name, Format) for every quantised weight format.
#define FASTGO_FOR_EACH_QUANTISED_FORMAT(MACRO) \
  MACRO(q8_0, Q8_0)                             \
  MACRO(q4_0, Q4_0)                             \
  MACRO(q4_1, Q4_1)                             \
  MACRO(q5_0, Q5_0)                             \
  MACRO(q5_1, Q5_1)                             \
  MACRO(q4_k, Q4_K)                             \
  MACRO(q5_k, Q5_K)                             \
  MACRO(q6_k, Q6_K)

#define FASTGO_FOR_EACH_FORMAT(MACRO) \
  MACRO(f32, F32)                     \
  MACRO(f16, F16)                     \
  MACRO(bf16, BF16)                   \
  MACRO(int8, Int8)                   \
  MACRO(int4, Int4)                   \
  FASTGO_FOR_EACH_QUANTISED_FORMAT(MACRO)

}  // namespace softmetal::cpu::native::FASTGO_ISA
