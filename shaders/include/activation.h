// The gates of gated linear units, as float32 functions of the gate's value.
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

inline float activate(uint activation, float x) { return activation == GELU_TANH ? gelu_tanh(x) : silu(x); }
