// Rotary embedding of one head, with the norm before it where there is one.
#pragma once

#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

struct Rotation {
  std::uint32_t half_dim;  // pairs that rotate
  bool is_interleaved;     // 2i pairs with 2i + 1, else i with i + half_dim
  const float* cosines;    // (half_dim,)
  const float* sines;
};

typedef double WideVector __attribute__((vector_size(width * 8)));

// Sines and cosines to 1e-7. Whole quarter turns are taken off in double precision, so that large angles lose nothing.
inline void sines_and_cosines(Vector angles, float* cosines, float* sines) {
  const WideVector x = __builtin_convertvector(angles, WideVector);
  const double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  const WideVector turns = (x * 0.63661977236758134308 + magic) - magic;
  const Vector r = __builtin_convertvector(x - turns * 1.57079632679489661923, Vector), z = r * r;
  // Only the two lowest bits of the quarter turns count; angles are below 2^31 quarters.
  const IntVector quarter = __builtin_convertvector(turns, IntVector);
  const Vector sine = r + r * z * (-1.6666654611e-1f + z * (8.3321608736e-3f + z * -1.9515295891e-4f));
  const Vector tail = 4.166664568298827e-2f + z * (-1.388731625493765e-3f + z * 2.443315711809948e-5f);
  const Vector cosine = 1.0f - 0.5f * z + z * z * tail;
  const IntVector is_odd = (quarter & 1) != 0;
  const Vector s = select(is_odd, cosine, sine), c = select(is_odd, sine, cosine);
  store(sines, select((quarter & 2) != 0, -s, s));
  store(cosines, select(((quarter + 1) & 2) != 0, -c, c));
}

inline void fill_rotation(float position, const float* frequencies, std::uint32_t half_dim, float* cosines,
                          float* sines) {
  std::uint32_t i = 0;
  for (; i + width <= half_dim; i += width) sines_and_cosines(position * load(frequencies + i), cosines + i, sines + i);
  for (; i < half_dim; i++) {
    const float angle = position * frequencies[i];
    cosines[i] = __builtin_cosf(angle);
    sines[i] = __builtin_sinf(angle);
  }
}

// A vector of pairs of the halves layout, from pair i on.
inline void rotate_vectors(const float* x, const float* weight, float scale, const Rotation& rotation, std::uint32_t i,
                           float* out) {
  const std::uint32_t j = i + rotation.half_dim;
  Vector first = load(x + i) * scale, second = load(x + j) * scale;
  if (weight != nullptr) {
    first *= load(weight + i);
    second *= load(weight + j);
  }
  const Vector c = load(rotation.cosines + i), s = load(rotation.sines + i);
  store(out + i, first * c - second * s);
  store(out + j, second * c + first * s);
}

template <bool is_interleaved>
void rotate_pairs(const float* x, const float* weight, float scale, const Rotation& rotation, float* out) {
  std::uint32_t done = 0;
  for (; !is_interleaved && done + width <= rotation.half_dim; done += width) {
    rotate_vectors(x, weight, scale, rotation, done, out);
  }
  for (std::uint32_t i = done; i < rotation.half_dim; i++) {
    const std::uint32_t a = is_interleaved ? 2 * i : i;
    const std::uint32_t b = is_interleaved ? 2 * i + 1 : i + rotation.half_dim;
    float first = x[a] * scale;
    float second = x[b] * scale;
    if (weight != nullptr) {
      first *= weight[a];
      second *= weight[b];
    }
    const float c = rotation.cosines[i];
    const float s = rotation.sines[i];
    out[a] = first * c - second * s;
    out[b] = second * c + first * s;
  }
}

inline void rotate_head(const float* x, const float* weight, float eps, std::uint32_t head_dim,
                        const Rotation& rotation, float* out) {
  float scale = 1.0f;
  if (weight != nullptr) {
    Vector sums = {};
    float sum = 0.0f;
    std::uint32_t i = 0;
    for (; i + width <= head_dim; i += width) sums += load(x + i) * load(x + i);
    for (; i < head_dim; i++) sum += x[i] * x[i];
    scale = 1.0f / __builtin_sqrtf((sum + horizontal_sum(sums)) / static_cast<float>(head_dim) + eps);
  }
  if (rotation.is_interleaved) {
    rotate_pairs<true>(x, weight, scale, rotation, out);
  } else {
    rotate_pairs<false>(x, weight, scale, rotation, out);
  }
  for (std::uint32_t i = 2 * rotation.half_dim; i < head_dim; i++) {
    out[i] = x[i] * scale * (weight != nullptr ? weight[i] : 1.0f);
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
