// Nibbles with one scale a block as panels of bfloat16 (bf16_tile.h), for the products of many rows.
//
// Sixteen outputs are unpacked side by side: lanes of a register are pairs of columns of eight outputs, so that two
// registers of floats are rounded to a panel's row as it stands and nothing of full width has to be transposed.
#pragma once

#include "cpu/native/bf16_tile.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vnni.h"
#include "cpu/native/weights.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Further bits of formats of nibbles with one scale a block; -1 for all others.
template <typename Format>
struct NibbleBits {
  static constexpr int further = -1;
};
#define FASTGO_NIBBLE_BITS(Format, bits) \
  template <>                            \
  struct NibbleBits<Format> {            \
    static constexpr int further = bits; \
  };
FASTGO_NIBBLE_BITS(Q4_0, 0)
FASTGO_NIBBLE_BITS(Q4_1, 0)
FASTGO_NIBBLE_BITS(Q5_0, 1)
FASTGO_NIBBLE_BITS(Q5_1, 1)
FASTGO_NIBBLE_BITS(Q4_K, 0)
FASTGO_NIBBLE_BITS(Q5_K, 1)

// Floats that a NibblePanel of so many blocks keeps.
inline std::size_t nibble_panel_floats(std::uint32_t blocks) {
  return std::size_t{2} * lane_count * whole_groups(blocks);
}

// Transposes eight rows of two times eight floats: row j of the result holds element j of each half's eight.
__attribute__((always_inline)) inline void transpose_halves(__m512 rows[8]) {
  __m512 pairs[8];
  __m512d fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; j++) {
      const __m512d first = _mm512_castps_pd(pairs[i + j]), second = _mm512_castps_pd(pairs[i + j + 2]);
      fours[i + 2 * j] = _mm512_unpacklo_pd(first, second);
      fours[i + 2 * j + 1] = _mm512_unpackhi_pd(first, second);
    }
  }
  const __m512i even = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13), odd = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  for (int j = 0; j < 4; j++) {
    rows[j] = _mm512_castpd_ps(_mm512_permutex2var_pd(fours[j], even, fours[j + 4]));
    rows[j + 4] = _mm512_castpd_ps(_mm512_permutex2var_pd(fours[j], odd, fours[j + 4]));
  }
}

// Sixteen outputs from `first` on, those beyond `last` being the last one again. `memory`: nibble_panel_floats.
template <typename Format>
class NibblePanel {
 public:
  NibblePanel(const Planes& planes, std::uint32_t first, std::uint32_t last, std::uint32_t blocks, float* memory)
      : low_(planes.low + std::uint64_t{first} * blocks * 16),
        high_(planes.high == nullptr ? nullptr : planes.high + std::uint64_t{first} * blocks * 4),
        scales_(memory),
        shifts_(memory + lane_count * whole_groups(blocks)) {
    for (std::uint32_t i = 0; i < lane_count; i++) offsets_[i] = (smaller(first + i, last) - first) * blocks;
    for (std::uint32_t block = 0; block < blocks; block += group_blocks) load_scales(planes, first, blocks, block);
  }

  // Stores the 16 pairs of columns of a block, `panel_outputs` words apart.
  void operator()(std::uint32_t block, unsigned char* out) const {
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i upper_twice = _mm512_add_epi32(twice, _mm512_set1_epi32(8));
    const Affines lower{_mm512_permutexvar_ps(twice, scale(block)), _mm512_permutexvar_ps(twice, shift(block))};
    const Affines upper{_mm512_permutexvar_ps(upper_twice, scale(block)),
                        _mm512_permutexvar_ps(upper_twice, shift(block))};
    __m512i bits = {}, lower_bits = {}, upper_bits = {};
    if (has_fifth_bit) {
      bits = fifth_bits(block);
      lower_bits = _mm512_permutexvar_epi32(twice, bits);
      upper_bits = _mm512_permutexvar_epi32(upper_twice, bits);
    }
    const __m512i quads[4] = {four_outputs(block, 0), four_outputs(block, 4), four_outputs(block, 8),
                              four_outputs(block, 12)};
    const __m512i words = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    for (int word = 0; word < 4; word++) {
      const __m512i order = _mm512_add_epi32(words, _mm512_set1_epi32(word));
      const __m512i lower_word = _mm512_permutex2var_epi32(quads[0], order, quads[1]);
      const __m512i upper_word = _mm512_permutex2var_epi32(quads[2], order, quads[3]);
      for (int part = 0; part < 4; part++) {
        // Two bytes of the word; the lower nibbles are columns of the first sixteen, the upper ones of the last.
        const int pair = 2 * word + part % 2 + part / 2 * 8, shift = part % 2 * 16 + part / 2 * 4;
        const __m512i counts = _mm512_set1_epi64(static_cast<std::int64_t>(shift + 8) << 32 | shift);
        const __m512i columns = _mm512_set1_epi64(static_cast<std::int64_t>(std::uint64_t{2} << (2 * pair + 32)) |
                                                  static_cast<std::int64_t>(1) << (2 * pair));
        const __m512 first = weights(lower_word, counts, lower_bits, columns, lower);
        const __m512 second = weights(upper_word, counts, upper_bits, columns, upper);
        _mm512_store_si512(out + static_cast<std::size_t>(pair) * panel_outputs * 4, round_pairs(first, second));
      }
    }
  }

 private:
  static constexpr bool has_fifth_bit = NibbleBits<Format>::further == 1;

  struct Affines {
    __m512 scale, shift;
  };

  // Nibbles at `counts` within the lanes of `words`, with the bits that `columns` selects, as floats.
  static __m512 weights(__m512i words, __m512i counts, __m512i bits, __m512i columns, const Affines& affine) {
    const __m512 values = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512 q = _mm512_permutexvar_ps(_mm512_srlv_epi32(words, counts), values);  // the lowest four bits count
    if (has_fifth_bit) q = _mm512_mask_add_ps(q, _mm512_test_epi32_mask(bits, columns), q, _mm512_set1_ps(16.0f));
    return _mm512_fmadd_ps(q, affine.scale, affine.shift);
  }

  // Of the eight blocks from `block` on.
  void load_scales(const Planes& planes, std::uint32_t first, std::uint32_t blocks, std::uint32_t block) {
    constexpr std::uint32_t half = lane_count / 2;
    const __mmask8 present = present_blocks(blocks, block);
    __m512 scales[half], shifts[half];
    for (std::uint32_t i = 0; i < half; i++) {
      const std::uint64_t index = std::uint64_t{first} * blocks + block;
      const GroupAffine lower = Vnni<Format>::affine(planes, index + offsets_[i], present);
      const GroupAffine upper = Vnni<Format>::affine(planes, index + offsets_[i + half], present);
      scales[i] = join(lower.scale, upper.scale);
      shifts[i] = join(lower.shift, upper.shift);
    }
    transpose_halves(scales);
    transpose_halves(shifts);
    for (std::uint32_t i = 0; i < half; i++) {
      _mm512_store_ps(scales_ + (block + i) * lane_count, scales[i]);
      _mm512_store_ps(shifts_ + (block + i) * lane_count, shifts[i]);
    }
  }

  static __m512 join(__m256 lower, __m256 upper) { return _mm512_insertf32x8(_mm512_castps256_ps512(lower), upper, 1); }

  __m512 scale(std::uint32_t block) const { return _mm512_load_ps(scales_ + block * lane_count); }
  __m512 shift(std::uint32_t block) const { return _mm512_load_ps(shifts_ + block * lane_count); }

  // The 16 bytes of a block of four outputs.
  __m512i four_outputs(std::uint32_t block, int i) const {
    const auto bytes = [&](int output) {
      return _mm_loadu_si128(
          reinterpret_cast<const __m128i*>(low_ + (std::uint64_t{offsets_[i + output]} + block) * 16));
    };
    const __m256i lower = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes(0)), bytes(1), 1);
    const __m256i upper = _mm256_inserti128_si256(_mm256_castsi128_si256(bytes(2)), bytes(3), 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1);
  }

  __m512i fifth_bits(std::uint32_t block) const {
    const __m512i offsets = _mm512_load_si512(offsets_);
    return _mm512_i32gather_epi32(offsets, high_ + std::uint64_t{block} * 4, 4);
  }

  const unsigned char *low_, *high_;
  float *scales_, *shifts_;
  alignas(64) std::uint32_t offsets_[lane_count];  // in blocks
};

}  // namespace softmetal::cpu::native::FASTGO_ISA
