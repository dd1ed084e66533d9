// Pass one of the exact output head: the estimates of a tile's 16 rows, and what it wants of a hidden state.
//
// Inputs have 16 bits, a scale for each block of 32 (for all of the sketch's coordinates): x = scale * (256 high +
// low). A lane is a row, so nothing is summed across lanes.
#pragma once

#include "cpu/native/native.h"
#include "cpu/native/vector.h"
#include "cpu/native/weights.h"
#include "include/head_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr int head_rows = HEAD_TILE_ROWS;
constexpr std::uint32_t tile_ahead = 4096;  // bytes between what is read and what is fetched into the cache

// `values` float32, quantised to integers; their scale is returned and their sum left in `sum`.
inline float quantise_head(const float* values, std::uint32_t count, std::int16_t* both, std::int8_t* high,
                           std::int8_t* low, std::int32_t& sum) {
  float largest = 0.0f;
  for (std::uint32_t j = 0; j < count; j++) {
    const float magnitude = __builtin_fabsf(values[j]);
    largest = magnitude > largest || magnitude != magnitude ? magnitude : largest;  // keeps a NaN
  }
  const float inverse = largest > 0.0f ? 32512.0f / largest : 0.0f;
  sum = 0;
  for (std::uint32_t j = 0; j < count; j++) {
    const auto q = inverse > 0.0f ? static_cast<std::int32_t>(__builtin_rintf(values[j] * inverse)) : 0;
    const std::int32_t upper = (q + 128) >> 8;
    both[j] = static_cast<std::int16_t>(q);
    high[j] = static_cast<std::int8_t>(upper);
    low[j] = static_cast<std::int8_t>(q - upper * 256);
    sum += q;
  }
  return largest / 32512.0f;
}

class TileInputs {
 public:
  TileInputs(const HeadArgs& args, const float* x, const float* projection)
      : columns_(args.columns), directions_(args.directions) {
    const std::size_t blocks = columns_ / 32, count = columns_ + directions_;
    unsigned char* memory = scratch(count * 4 + blocks * 2 * sizeof(float) + 64);
    both_ = reinterpret_cast<std::int16_t*>(memory);
    high_ = reinterpret_cast<std::int8_t*>(both_ + count);
    low_ = high_ + count;
    factors_ = reinterpret_cast<float*>(low_ + count);
    shifts_ = factors_ + blocks;
    std::int32_t sum;
    for (std::uint32_t b = 0; b < blocks; b++) {
      const std::uint32_t at = b * 32;
      const float scale = quantise_head(x + at, 32, both_ + at, high_ + at, low_ + at, sum);
      factors_[b] = 16.0f * scale;
      shifts_[b] = -120.5f * scale * static_cast<float>(sum);
    }
    sketch_scale_ = quantise_head(projection, directions_, both_ + columns_, high_ + columns_, low_ + columns_, sum);
    sketch_excess_ = 128 * sum;
  }

  // The estimates of the rows of several tiles, float32 (16,) each.
  template <int tiles>
  void estimates(const unsigned char* const* tile, float (*out)[head_rows]) const;

 private:
  std::int32_t four(const std::int8_t* values, std::uint32_t index) const {
    std::int32_t word;
    std::memcpy(&word, values + index, 4);
    return word;
  }

  void estimate(const unsigned char* tile, float* out) const;

  std::uint32_t columns_, directions_;
  std::int16_t* both_;
  std::int8_t *high_, *low_;
  float *factors_, *shifts_;
  float sketch_scale_;
  std::int32_t sketch_excess_;  // what the 128 in every byte of a sketch adds to its product
};

#if defined(__AVX512VNNI__)

inline void fetch(const unsigned char* at) {
  _mm_prefetch(reinterpret_cast<const char*>(at) + tile_ahead, _MM_HINT_T0);
}

// Tiles that a thread reads at once, from places far apart, share the loads of inputs.
template <int tiles>
[[gnu::noinline]] void TileInputs::estimates(const unsigned char* const* tile, float (*out)[head_rows]) const {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512 sums[tiles];
  for (int t = 0; t < tiles; t++) sums[t] = _mm512_setzero_ps();
  for (std::uint32_t b = 0; b * 32 < columns_; b++) {
    const std::uint32_t nibbles = head_tile_nibbles(b), scales = head_tile_scales(b);
    const std::int8_t *uppers = high_ + b * 32, *lowers = low_ + b * 32;
    __m512i high[tiles], low[tiles];
    for (int t = 0; t < tiles; t++) high[t] = low[t] = _mm512_setzero_si512();
    for (std::uint32_t v = 0; v < 4; v++) {
      const __m512i first_uppers = _mm512_set1_epi32(four(uppers, v * 4));
      const __m512i first_lowers = _mm512_set1_epi32(four(lowers, v * 4));
      const __m512i last_uppers = _mm512_set1_epi32(four(uppers, v * 4 + 16));
      const __m512i last_lowers = _mm512_set1_epi32(four(lowers, v * 4 + 16));
      for (int t = 0; t < tiles; t++) {
        fetch(tile[t] + nibbles + v * 64);
        const __m512i bytes = _mm512_loadu_si512(tile[t] + nibbles + v * 64);
        const __m512i first = _mm512_and_si512(bytes, mask);
        const __m512i last = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
        high[t] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(high[t], first, first_uppers), last, last_uppers);
        low[t] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(low[t], first, first_lowers), last, last_lowers);
      }
    }
    for (int t = 0; t < tiles; t++) {
      if (b % 2 == 0) fetch(tile[t] + scales);
      const __m512 terms = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high[t], 8), low[t]));
      const __m512 values = _mm512_fmadd_ps(terms, _mm512_set1_ps(factors_[b]), _mm512_set1_ps(shifts_[b]));
      const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(tile[t] + scales));
      sums[t] = _mm512_fmadd_ps(_mm512_cvtph_ps(halves), values, sums[t]);
    }
  }
  for (int t = 0; t < tiles; t++) {
    const unsigned char* sketch = tile[t] + head_tile_sketch(columns_);
    __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();
    for (std::uint32_t d = 0; d < directions_; d += 4) {
      fetch(sketch + d * 16);
      const __m512i bytes = _mm512_loadu_si512(sketch + d * 16);
      high = _mm512_dpbusd_epi32(high, bytes, _mm512_set1_epi32(four(high_, columns_ + d)));
      low = _mm512_dpbusd_epi32(low, bytes, _mm512_set1_epi32(four(low_, columns_ + d)));
    }
    const __m512i both = _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    const __m512i terms = _mm512_sub_epi32(both, _mm512_set1_epi32(sketch_excess_));
    const __m512 sketch_scales = _mm512_mul_ps(
        _mm512_loadu_ps(tile[t] + head_tile_sketch_scales(columns_, directions_)), _mm512_set1_ps(sketch_scale_));
    _mm512_storeu_ps(out[t], _mm512_fmadd_ps(_mm512_cvtepi32_ps(terms), sketch_scales, sums[t]));
  }
}

#else

#if defined(__AVX2__)
// Rows' sums of nibbles times inputs; sixteen bits hold the eight products that one lane adds.
inline void block_sums(const unsigned char* nibbles, const std::int8_t* high, const std::int8_t* low,
                       const std::int16_t*, std::int32_t* out) {
  const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  for (int side = 0; side < 2; side++) {
    __m256i uppers = _mm256_setzero_si256(), lowers = _mm256_setzero_si256();
    for (int v = 0; v < 4; v++) {
      const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(nibbles + v * 64 + side * 32));
      for (int half = 0; half < 2; half++) {
        const __m256i q = _mm256_and_si256(half ? _mm256_srli_epi16(bytes, 4) : bytes, mask);
        std::int32_t words[2];
        std::memcpy(&words[0], high + half * 16 + v * 4, 4);
        std::memcpy(&words[1], low + half * 16 + v * 4, 4);
        uppers = _mm256_add_epi16(uppers, _mm256_maddubs_epi16(q, _mm256_set1_epi32(words[0])));
        lowers = _mm256_add_epi16(lowers, _mm256_maddubs_epi16(q, _mm256_set1_epi32(words[1])));
      }
    }
    const __m256i sums =
        _mm256_add_epi32(_mm256_slli_epi32(_mm256_madd_epi16(uppers, ones), 8), _mm256_madd_epi16(lowers, ones));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + side * 8), sums);
  }
}
#elif defined(__ARM_FEATURE_DOTPROD)
// Rows' sums of nibbles times inputs, four rows a register.
inline void block_sums(const unsigned char* nibbles, const std::int8_t* high, const std::int8_t* low,
                       const std::int16_t*, std::int32_t* out) {
  const auto four = [](const std::int8_t* values) {
    std::int32_t word;
    std::memcpy(&word, values, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(word));
  };
  for (int rows = 0; rows < head_rows; rows += 4) {
    int32x4_t uppers = vdupq_n_s32(0), lowers = vdupq_n_s32(0);
    for (int v = 0; v < 4; v++) {
      const uint8x16_t bytes = vld1q_u8(nibbles + v * 64 + rows * 4);
      const int8x16_t first = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
      const int8x16_t last = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
      uppers = vdotq_s32(vdotq_s32(uppers, first, four(high + v * 4)), last, four(high + 16 + v * 4));
      lowers = vdotq_s32(vdotq_s32(lowers, first, four(low + v * 4)), last, four(low + 16 + v * 4));
    }
    vst1q_s32(out + rows, vaddq_s32(vshlq_n_s32(uppers, 8), lowers));
  }
}
#else
inline void block_sums(const unsigned char* nibbles, const std::int8_t*, const std::int8_t*, const std::int16_t* both,
                       std::int32_t* out) {
  for (int r = 0; r < head_rows; r++) {
    std::int32_t sum = 0;
    for (int v = 0; v < 4; v++) {
      for (int j = 0; j < 4; j++) {
        const std::int32_t byte = nibbles[v * 64 + r * 4 + j];
        sum += (byte & 15) * both[v * 4 + j] + (byte >> 4) * both[16 + v * 4 + j];
      }
    }
    out[r] = sum;
  }
}
#endif

inline void TileInputs::estimate(const unsigned char* tile, float* out) const {
  std::int32_t sums[head_rows];
  for (int r = 0; r < head_rows; r++) out[r] = 0.0f;
  for (std::uint32_t b = 0; b * 32 < columns_; b++) {
    block_sums(tile + head_tile_nibbles(b), high_ + b * 32, low_ + b * 32, both_ + b * 32, sums);
    const unsigned char* scales = tile + head_tile_scales(b);
    for (std::uint32_t r = 0; r < head_rows; r++) {
      out[r] += half_at(scales, r) * (static_cast<float>(sums[r]) * factors_[b] + shifts_[b]);
    }
  }
  const unsigned char* sketch = tile + head_tile_sketch(columns_);
  const unsigned char* sketch_scales = tile + head_tile_sketch_scales(columns_, directions_);
  for (std::uint32_t r = 0; r < head_rows; r++) {
    std::int32_t sum = 0;
    for (std::uint32_t d = 0; d < directions_; d++) {
      sum += (sketch[d / 4 * 64 + r * 4 + d % 4] - 128) * both_[columns_ + d];
    }
    float scale;
    std::memcpy(&scale, sketch_scales + r * 4, 4);
    out[r] += scale * sketch_scale_ * static_cast<float>(sum);
  }
}

template <int tiles>
void TileInputs::estimates(const unsigned char* const* tile, float (*out)[head_rows]) const {
  for (int t = 0; t < tiles; t++) estimate(tile[t], out[t]);
}

#endif

}  // namespace softmetal::cpu::native::FASTGO_ISA
