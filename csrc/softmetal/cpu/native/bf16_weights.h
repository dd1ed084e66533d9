// Weights of every format as panels of bfloat16 for the products of many rows: dequantised, rounded, laid out as
// bf16_tile.h says.
#pragma once

#include "cpu/native/bf16_tile.h"
#include "cpu/native/nibble_panel.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vnni.h"
#include "cpu/native/weights.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Pairs of columns in a row that is padded to whole blocks.
inline std::uint32_t padded_pairs(std::uint32_t columns) { return (columns + block_weights - 1) / block_weights * 16; }

// The two halves of a block of weights; a row's last block may be short and is then filled up with zeros.
struct Halves {
  __m512 first, second;
};

template <typename Format>
inline Halves load_block(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  alignas(64) float weights[block_weights];
  BlockLoader<Format>::load(planes, row, columns, block, weights);
  return {_mm512_load_ps(weights), _mm512_load_ps(weights + 16)};
}

inline __m512 widen(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

// Nibbles with two planes of further bits, and a scale for each half.
template <>
inline Halves load_block<Q6_K>(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  const std::uint64_t index = row * (columns / block_weights) + block;
  const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes.low + index * 16));
  const __m128i mask = _mm_set1_epi8(15);
  __m128i low = _mm_and_si128(packed, mask), high = _mm_and_si128(_mm_srli_epi16(packed, 4), mask);
  for (int bit = 0; bit < 2; bit++) {
    const std::uint32_t word = word_at(planes.high, index * 2 + bit);
    const __m128i addend = _mm_set1_epi8(static_cast<char>(16 << bit));
    low = _mm_mask_add_epi8(low, static_cast<__mmask16>(word), low, addend);
    high = _mm_mask_add_epi8(high, static_cast<__mmask16>(word >> 16), high, addend);
  }
  const __m512 zero = _mm512_set1_ps(static_cast<float>(Q6_K::zero));
  return {_mm512_mul_ps(_mm512_sub_ps(widen(low), zero), _mm512_set1_ps(Q6_K::scale(planes, index, 0))),
          _mm512_mul_ps(_mm512_sub_ps(widen(high), zero), _mm512_set1_ps(Q6_K::scale(planes, index, 1)))};
}

template <>
inline Halves load_block<Q8_0>(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  const std::uint64_t index = row * (columns / block_weights) + block;
  const __m512 scale = _mm512_set1_ps(half_at(planes.scales, index));
  const auto* bytes = reinterpret_cast<const __m128i*>(planes.low + index * 32);
  return {_mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes))), scale),
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes + 1))), scale)};
}

// Floats that load_panel needs for a row of so many columns.
inline std::size_t panel_scales(std::uint32_t columns) {
  return nibble_panel_floats((columns + block_weights - 1) / block_weights);
}

// Fills a panel with the outputs [first, first + count); the others repeat the last one. `memory`: of panel_scales.
template <typename Format>
void load_panel(const Planes& planes, std::uint32_t first, std::uint32_t count, std::uint32_t columns,
                unsigned char* panel, [[maybe_unused]] float* memory) {
  const std::uint32_t blocks = padded_pairs(columns) / 16, last = first + count - 1;
  for (std::uint32_t side = 0; side < panel_outputs; side += lane_count) {
    const auto target = [&](std::uint32_t block) {
      return panel + (static_cast<std::size_t>(block) * 16 * panel_outputs + side) * 4;
    };
    if constexpr (NibbleBits<Format>::further >= 0) {
      const NibblePanel<Format> load(planes, smaller(first + side, last), last, blocks, memory);
      for (std::uint32_t block = 0; block < blocks; block++) load(block, target(block));
    } else {
      for (std::uint32_t block = 0; block < blocks; block++) {
        __m512i rows[lane_count];
        for (int i = 0; i < lane_count; i++) {
          const Halves weights = load_block<Format>(planes, smaller(first + side + i, last), columns, block);
          rows[i] = round_pairs(weights.first, weights.second);
        }
        transpose(rows);
        for (int i = 0; i < 16; i++) _mm512_store_si512(target(block) + i * panel_outputs * 4, rows[i]);
      }
    }
  }
}

// Block `block` of a row of inputs, rounded if it isn't yet; zeros beyond its end.
inline __m512i round_block(const Bfloat* row, std::uint32_t columns, std::uint32_t block) {
  const std::uint32_t left = columns - block * block_weights;
  return _mm512_maskz_loadu_epi16(left < block_weights ? (1u << left) - 1 : ~0u, row + block * block_weights);
}

inline __m512i round_block(const float* row, std::uint32_t columns, std::uint32_t block) {
  const std::uint32_t left = columns - block * block_weights;
  const std::uint32_t mask = left < block_weights ? (1u << left) - 1 : ~0u;
  const float* x = row + block * block_weights;
  return round_pairs(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x),
                     _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + 16));
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
