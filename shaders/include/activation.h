// Activation functions in float32: gates of gated linear units, epilogues of products.
#pragma once

#include <metal_stdlib>

#include "matmul_args.h"
using namespace metal;

inline float silu(float x) { return x / (1.0f + exp(-x)); }

// Hendrycks and Gimpel 2016, the tanh form. tanh saturates, so a large argument must not overflow inside it.
inline float gelu_tanh(float x) {
  float inner = clamp(0.7978845608028654f * (x + 0.044715f * x * x * x), -15.0f, 15.0f);
  return 0.5f * x * (1.0f + precise::tanh(inner));
}

// Half of erfc(z) for z from 0 to 7, to about 1e-7 of its value: t exp(P(t) - z^2) with t = 1 / (1 + z / 2), where P
// was fitted to the logarithm at Chebyshev nodes. MSL has no erf.
inline float half_erfc(float z) {
  float t = 1.0f / (1.0f + 0.5f * z);
  float p = 0.10580495f;
  p = p * t - 0.46242652f;
  p = p * t + 0.62817816f;
  p = p * t + 0.0300917f;
  p = p * t - 0.70347307f;
  p = p * t + 0.34665256f;
  p = p * t - 0.08875333f;
  p = p * t + 0.41395713f;
  p = p * t + 0.99523599f;
  p = p * t - 1.26526754f;
  return 0.5f * t * precise::exp(p - z * z);
}

// Hendrycks and Gimpel 2016: x times the normal distribution's integral up to x, whose tail beyond 9.8 counts as zero.
inline float gelu_erf(float x) {
  float z = fabs(x) * 0.7071067811865476f;
  float tail = z < 7.0f ? half_erfc(z) : 0.0f;
  return x * (x < 0.0f ? tail : 1.0f - tail);
}

inline float activate(uint activation, float x) {
  switch (activation) {
    case GELU_TANH:
      return gelu_tanh(x);
    case GELU_ERF:
      return gelu_erf(x);
    case RELU:
      return max(x, 0.0f);
    case NO_ACTIVATION:
      return x;
    default:
      return silu(x);
  }
}
