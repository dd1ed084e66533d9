// One row of native attention: query heads that share a key head walk a stretch of the cache together.
#pragma once

#include <cstddef>

#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr int group_heads = 4;    // at most so many query heads are handled together
constexpr int value_vectors = 4;  // of a value row handled together

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
template <typename T, int heads>
void score_keys(const float* queries, const T* keys, std::uint32_t count, std::uint32_t head_dim, float scale,
                float* scores, std::size_t stride) {
  for (std::uint32_t first = 0; first < count; first += width) {
    const std::uint32_t present = smaller(width, count - first);
    Vector sums[heads][width];
    for (std::uint32_t p = 0; p < width; p++) {
      // A last vector that is not full repeats its last key.
      const T* key = keys + static_cast<std::size_t>(first + smaller(p, present - 1)) * head_dim;
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
  float largest = scores[0];
  for (std::uint32_t p = 1; p < count; p++) largest = scores[p] > largest ? scores[p] : largest;
  float total = 0.0f;
  Vector totals = {};
  std::uint32_t p = 0;
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

template <typename T, int heads>
void sum_values(const float* weights, std::size_t stride, const T* values, std::uint32_t count, std::uint32_t head_dim,
                float* out) {
  std::uint32_t d = 0;
  for (; d + value_vectors * width <= head_dim; d += value_vectors * width) {
    Vector sums[heads][value_vectors] = {};
    for (std::uint32_t p = 0; p < count; p++) {
      const T* value = values + static_cast<std::size_t>(p) * head_dim + d;
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
      float sum = 0.0f;
      for (std::uint32_t p = 0; p < count; p++) {
        sum += weights[h * stride + p] * scalar_as_float(values[static_cast<std::size_t>(p) * head_dim + d]);
      }
      out[h * head_dim + d] = sum;
    }
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
