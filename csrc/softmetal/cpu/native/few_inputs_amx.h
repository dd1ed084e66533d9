// Inputs of a few rows (several sequences decoded together) as the left operands of AMX, eight rows at a time.
//
// Inputs have 16 bits and a scale for each quad, four blocks of a row: x = scale * (256 high + low). Of the sixteen
// rows of an operand, m holds the high bytes of row m and 8 + m the low ones; rows and columns that don't exist are
// zero.
#pragma once

#include "cpu/native/packed_weights_amx.h"
#include "cpu/native/stage_memory.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::size_t operand_bytes = 512;  // of a block of 32 columns

inline std::uint32_t row_groups(std::uint32_t rows) { return (rows + rows_together - 1) / rows_together; }
inline std::uint32_t whole_quads(std::uint32_t blocks) { return (blocks + quad_blocks - 1) / quad_blocks; }

// Eight rows' inputs in memory of `bytes`, a multiple of 64.
struct LaneInputs {
  std::int8_t* operands;  // a block
  float* sums;            // a block, 8: of the rows' integers
  float* scales;          // a quad, 8

  LaneInputs(unsigned char* memory, std::uint32_t blocks)
      : operands(reinterpret_cast<std::int8_t*>(memory)),
        sums(reinterpret_cast<float*>(memory + whole_quads(blocks) * quad_blocks * operand_bytes)),
        scales(sums + whole_quads(blocks) * quad_blocks * rows_together) {}

  static std::size_t bytes(std::uint32_t blocks) {
    const std::size_t quad_bytes = quad_blocks * operand_bytes + (quad_blocks + 1) * rows_together * sizeof(float);
    return (whole_quads(blocks) * quad_bytes + 63) / 64 * 64;
  }

  // The `present` blocks of quad `quad` of row `lane`; with none, zeros.
  void load(const float* x, std::uint32_t present, std::uint32_t quad, std::uint32_t lane) const {
    __m512 values[2 * quad_blocks];
    __m512i most = _mm512_setzero_si512();
    for (std::uint32_t i = 0; i < 2 * quad_blocks; i++) {
      values[i] = i < 2 * present ? _mm512_loadu_ps(x + i * lane_count) : _mm512_setzero_ps();
      most = larger_magnitude(most, values[i]);
    }
    const float largest = largest_magnitude(most);
    const __m512 inverse = _mm512_set1_ps(largest > 0.0f ? 32512.0f / largest : 0.0f);
    __m512i block_sums[quad_blocks];  // of each lane
    for (std::uint32_t b = 0; b < quad_blocks; b++) {
      const __m512i first = _mm512_cvtps_epi32(_mm512_mul_ps(values[b * 2], inverse));
      const __m512i last = _mm512_cvtps_epi32(_mm512_mul_ps(values[b * 2 + 1], inverse));
      std::int8_t* to = operands + (quad * quad_blocks + b) * operand_bytes + lane * block_weights;
      store(first, to);
      store(last, to + 16);
      block_sums[b] = _mm512_add_epi32(first, last);
    }
    alignas(16) float four[quad_blocks];
    _mm_store_ps(four, _mm_cvtepi32_ps(sums_of_lanes(block_sums)));
    for (std::uint32_t b = 0; b < quad_blocks; b++) sums[(quad * quad_blocks + b) * rows_together + lane] = four[b];
    scales[quad * rows_together + lane] = largest / 32512.0f;
  }

 private:
  static void store(__m512i integers, std::int8_t* to) {
    const HighLow parts = split(integers);
    _mm_store_si128(reinterpret_cast<__m128i*>(to), parts.high);
    _mm_store_si128(reinterpret_cast<__m128i*>(to + operand_bytes / 2), parts.low);
  }

  // The sum of each of four registers.
  static __m128i sums_of_lanes(const __m512i* registers) {
    __m512i pairs[2];
    for (int i = 0; i < 2; i++) {
      const __m512i a = registers[2 * i], b = registers[2 * i + 1];
      pairs[i] = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    const __m512i fours =
        _mm512_add_epi32(_mm512_unpacklo_epi64(pairs[0], pairs[1]), _mm512_unpackhi_epi64(pairs[0], pairs[1]));
    const __m256i halves = _mm256_add_epi32(_mm512_castsi512_si256(fours), _mm512_extracti64x4_epi64(fours, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
  }
};

inline std::size_t few_lanes_bytes(std::uint32_t rows, std::uint32_t columns) {
  return row_groups(rows) * LaneInputs::bytes(columns / block_weights);
}

// All groups of rows of x.
inline void load_few_lanes(const float* x, std::uint32_t rows, std::uint32_t columns, unsigned char* memory) {
  const std::uint32_t blocks = columns / block_weights;
  for (std::uint32_t m = 0; m < row_groups(rows) * rows_together; m++) {
    const LaneInputs inputs(memory + m / rows_together * LaneInputs::bytes(blocks), blocks);
    for (std::uint32_t quad = 0; quad < whole_quads(blocks); quad++) {
      const std::uint32_t present = m < rows ? smaller(quad_blocks, blocks - quad * quad_blocks) : 0;
      const float* from = x + static_cast<std::size_t>(m) * columns + quad * quad_blocks * block_weights;
      inputs.load(from, present, quad, m % rows_together);
    }
  }
}

// Inputs of a launch, which a thread's pieces of a stage share. Every thread makes its own: that takes less time than
// to wait for the other threads' parts and to fetch them from their caches.
inline unsigned char* few_inputs(const float* x, std::uint32_t rows, std::uint32_t columns) {
  thread_local StageMemory memory;
  if (memory.is_new(x, few_lanes_bytes(rows, columns))) load_few_lanes(x, rows, columns, memory.data());
  return memory.data();
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
