// One row of native attention: query heads that share a key head walk a stretch of the cache together.
#pragma once

#include <cstddef>

#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr int group_heads = 4;            // at most so many query heads are handled together
constexpr int value_vectors = 4;          // of a value row handled together
constexpr std::uint32_t value_rows = 32;  // read in one go: their parts stay in the L1 cache

// The first position that a row sees which sees those before `end`; window 0: from the start.
inline std::uint32_t first_visible(std::uint32_t window, std::uint32_t end) {
  return window != 0 && end > window ? end - window : 0;
}

// Brings `bytes` from `at` on into the cache: what the processor fetches by itself ends with each page.
inline void fetch_rows(const void* at, std::size_t bytes) {
  for (std::size_t b = 0; b < bytes; b += 64) __builtin_prefetch(static_cast<const char*>(at) + b);
}

// Adds what the elements of a head beyond whole vectors contribute.
template <typename T, int heads>
void add_tails(const float* queries, const T* keys, std::uint32_t count, std::uint32_t head_dim, float scale,
               float* scores, std::size_t stride) {
  for (std::uint32_t p = 0; p < count; p++) {
    for (std::uint32_t t = head_dim / width * width; t < head_dim; t++) {
      const float k = scalar_as_float(keys[static_cast<std::size_t>(p) * head_dim + t]) * scale;
      for (int h = 0; h < heads; h++) scores[h * stride + p] += k * queries[h * head_dim + t];
    }
  }
}

// Scores of `heads` queries against the keys [0, count): scores[h * stride + p]. Rows of scores hold whole vectors.
// `next`: the rows that are read after these.
template <typename T, int heads>
void score_keys(const float* queries, const T* keys, std::uint32_t count, std::uint32_t head_dim, float scale,
                float* scores, std::size_t stride, const T* next) {
  for (std::uint32_t first = 0; first < count; first += width) {
    const std::uint32_t present = smaller(width, count - first);
    Vector sums[heads][width];
    for (std::uint32_t p = 0; p < width; p++) {
      // A last vector that is not full repeats its last key.
      const T* key = keys + static_cast<std::size_t>(first + smaller(p, present - 1)) * head_dim;
      const std::uint32_t ahead = first + p + width;
      fetch_rows(ahead < count ? keys + std::size_t{ahead} * head_dim : next + std::size_t{ahead - count} * head_dim,
                 head_dim * sizeof(T));
      Vector dot[heads] = {};
      for (std::uint32_t d = 0; d + width <= head_dim; d += width) {
        const Vector k = load_as_float(key + d);
        for (int h = 0; h < heads; h++) dot[h] += k * load(queries + h * head_dim + d);
      }
      for (int h = 0; h < heads; h++) sums[h][p] = dot[h];
    }
    for (int h = 0; h < heads; h++) store(scores + h * stride + first, horizontal_sums(sums[h]) * scale);
  }
  if (head_dim % width != 0) add_tails<T, heads>(queries, keys, count, head_dim, scale, scores, stride);
}

// Turns scores into weights that sum to one.
inline void softmax(float* scores, std::uint32_t count) {
  Vector most = broadcast(scores[0]);
  std::uint32_t p = 0;
  for (; p + width <= count; p += width) most = select(load(scores + p) > most, load(scores + p), most);
  float largest = scores[0];
  for (int lane = 0; lane < width; lane++) largest = most[lane] > largest ? most[lane] : largest;
  for (; p < count; p++) largest = scores[p] > largest ? scores[p] : largest;
  float total = 0.0f;
  Vector totals = {};
  p = 0;
  for (; p + width <= count; p += width) {
    const Vector weight = exponential(load(scores + p) - largest);
    store(scores + p, weight);
    totals += weight;
  }
  for (; p < count; p++) {
    scores[p] = exponential(broadcast(scores[p] - largest))[0];
    total += scores[p];
  }
  const float inverse = 1.0f / (total + horizontal_sum(totals));
  for (p = 0; p < count; p++) scores[p] *= inverse;
}

// Adds the values [begin, end) times their weights to the sums in `out`, and fetches as many rows from `ahead` on.
template <typename T, int heads>
void add_values(const float* weights, std::size_t stride, const T* values, std::uint32_t begin, std::uint32_t end,
                std::uint32_t head_dim, float* out, const T* ahead) {
  std::uint32_t d = 0;
  for (; d + value_vectors * width <= head_dim; d += value_vectors * width) {
    Vector sums[heads][value_vectors];
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < value_vectors; v++) sums[h][v] = load(out + h * head_dim + d + v * width);
    }
    for (std::uint32_t p = begin; p < end; p++) {
      const T* value = values + static_cast<std::size_t>(p) * head_dim + d;
      fetch_rows(ahead + static_cast<std::size_t>(p - begin) * head_dim + d, value_vectors * width * sizeof(T));
      for (int v = 0; v < value_vectors; v++) {
        const Vector x = load_as_float(value + v * width);
        for (int h = 0; h < heads; h++) sums[h][v] += x * weights[h * stride + p];
      }
    }
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < value_vectors; v++) store(out + h * head_dim + d + v * width, sums[h][v]);
    }
  }
  for (; d < head_dim; d++) {
    for (int h = 0; h < heads; h++) {
      float sum = out[h * head_dim + d];
      for (std::uint32_t p = begin; p < end; p++) {
        sum += weights[h * stride + p] * scalar_as_float(values[static_cast<std::size_t>(p) * head_dim + d]);
      }
      out[h * head_dim + d] = sum;
    }
  }
}

template <typename T, int heads>
void sum_values(const float* weights, std::size_t stride, const T* values, std::uint32_t count, std::uint32_t head_dim,
                float* out, const T* next) {
  std::memset(out, 0, heads * head_dim * sizeof(float));
  for (std::uint32_t begin = 0; begin < count; begin += value_rows) {
    const std::uint32_t end = begin + value_rows;
    const T* ahead = end < count ? values + static_cast<std::size_t>(end) * head_dim : next;
    add_values<T, heads>(weights, stride, values, begin, smaller(end, count), head_dim, out, ahead);
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
