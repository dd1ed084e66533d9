// Finding cuts: the largest logit from which on the logits of a list are so many, or weigh so much. Exact, without
// sorting: a search that narrows the range, and the list to what lies in it.
//
// Logits are compared as floats and halved as ordered integers, `keys`; see shaders/include/sample_select.h.
#pragma once

#include <cstdint>

#include "cpu/native/sample.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

inline std::uint32_t key_of(float logit) {
  if (!(logit > LOWEST_SCORE)) return 0;
  std::uint32_t bits;
  std::memcpy(&bits, &logit, sizeof bits);
  if (bits >> 31 == 0) return bits | 0x80000000u;
  return bits == 0x80000000u ? bits : ~bits;
}

// The logit of a key; for key 0 and others of none that may be drawn the lowest that may.
inline float logit_of(std::uint32_t key) {
  constexpr std::uint32_t lowest = 0x009E4E1A;  // of the float above LOWEST_SCORE
  if (key < lowest) key = lowest;
  const std::uint32_t bits = key >> 31 != 0 ? key & 0x7FFFFFFFu : ~key;
  float logit;
  std::memcpy(&logit, &bits, sizeof logit);
  return logit;
}

struct Numbers {
  const float* logits;
  const float* masses;  // null where they are only counted
  std::uint32_t size;
};

struct Measure {
  double mass;  // or the count, without masses
  std::uint32_t count;
};

inline Measure measure_from(const Numbers& numbers, float pivot) {
  constexpr std::uint32_t run = 16 * width;  // summed in float32
  Measure found = {0.0, 0};
  std::uint32_t i = 0;
  for (; i + run <= numbers.size; i += run) {
    Vector mass = {};
    IntVector count = {};
    for (std::uint32_t j = i; j < i + run; j += width) {
      const IntVector mask = load(numbers.logits + j) >= pivot;
      count -= mask;
      if (numbers.masses != nullptr) mass += select(mask, load(numbers.masses + j), Vector{});
    }
    found.count += static_cast<std::uint32_t>(horizontal_sum(__builtin_convertvector(count, Vector)));
    found.mass += horizontal_sum(mass);
  }
  for (; i < numbers.size; i++) {
    if (!(numbers.logits[i] >= pivot)) continue;
    found.count++;
    if (numbers.masses != nullptr) found.mass += numbers.masses[i];
  }
  if (numbers.masses == nullptr) found.mass = found.count;
  return found;
}

// Those on one side of the pivot, copied to `logits` and `masses`, which may be where they are.
inline Numbers narrowed(const Numbers& numbers, float pivot, bool upper, float* logits, float* masses) {
  std::uint32_t size = 0, i = 0;
#if defined(__AVX512F__)
  const __m512 pivots = _mm512_set1_ps(pivot);
  for (; i + width <= numbers.size; i += width) {
    const __m512 x = _mm512_loadu_ps(numbers.logits + i);
    const __mmask16 above = _mm512_cmp_ps_mask(x, pivots, _CMP_GE_OQ);
    const __mmask16 kept = upper ? above : static_cast<__mmask16>(~above);
    if (numbers.masses != nullptr) {
      _mm512_storeu_ps(masses + size, _mm512_maskz_compress_ps(kept, _mm512_loadu_ps(numbers.masses + i)));
    }
    _mm512_storeu_ps(logits + size, _mm512_maskz_compress_ps(kept, x));
    size += static_cast<std::uint32_t>(__builtin_popcount(kept));
  }
#endif
  for (; i < numbers.size; i++) {
    const float logit = numbers.logits[i];
    if (numbers.masses != nullptr) masses[size] = numbers.masses[i];
    logits[size] = logit;
    size += (logit >= pivot) == upper;
  }
  return {logits, numbers.masses != nullptr ? masses : nullptr, size};
}

// The largest key in [low, high] from which on the numbers measure `target` or more; `low` itself is not measured.
// Nothing may lie above `high`. `likely` is a logit that few searches end below. `memory` holds two floats a number.
inline std::uint32_t find_key(Numbers numbers, double target, std::uint32_t low, std::uint32_t high, float likely,
                              float* memory) {
  float* const logits = memory;
  float* const masses = memory + numbers.size;
  constexpr int logit_rounds = 30;
  double above = 0.0;
  for (int round = 0; low < high && numbers.size > 0; round++) {
    // Halving logits is quick where they are dense, halving keys ends in 32 rounds.
    std::uint32_t middle = high - (high - low) / 2;
    if (round < logit_rounds) {
      const float lowest = logit_of(low) > likely ? logit_of(low) : likely;
      const std::uint32_t key = key_of(0.5f * lowest + 0.5f * logit_of(high));
      if (key > low && key <= high) middle = key;
    }
    const float pivot = logit_of(middle);
    const Measure measure = measure_from(numbers, pivot);
    const bool reaches = above + measure.mass >= target;
    const std::uint32_t kept = reaches ? measure.count : numbers.size - measure.count;
    const bool narrows = kept <= numbers.size / 4 * 3 || numbers.size < 64;
    if (reaches) {
      low = middle;
    } else {
      high = middle - 1;
      // What stays in the list goes on being measured with it.
      if (narrows) above += measure.mass;
    }
    if (narrows) numbers = narrowed(numbers, pivot, reaches, logits, masses);
  }
  return low;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
