// The gates of gated linear units on vectors; the native twin of shaders/include/activation.h.
#pragma once

#include "cpu/native/vector.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

inline Vector activate(std::uint32_t activation, Vector x) {
  Vector argument = x;
  if (activation == GELU_TANH) {
    // 0.5 (1 + tanh(u)) is the logistic function of 2u.
    argument = 1.5957691216057308f * (x + 0.044715f * x * x * x);
  }
  return x / (1.0f + exponential(-argument));
}

inline float activate(std::uint32_t activation, float x) { return activate(activation, broadcast(x))[0]; }

}  // namespace softmetal::cpu::native::FASTGO_ISA
