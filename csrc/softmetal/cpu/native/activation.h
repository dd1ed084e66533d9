// Activation functions on vectors; the native twin of shaders/include/activation.h.
#pragma once

#include "cpu/native/vector.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// x / (1 + e^-argument); zero where the power saturates, as the largest x are still larger.
inline Vector gated_by_logistic(Vector x, Vector argument) {
  return select(argument < -87.0f, x * 0.0f, x / (1.0f + exponential(-argument)));
}

inline Vector gelu_erf(Vector x) {
  Vector z = select(x < 0.0f, -x, x) * 0.7071067811865476f;
  const IntVector is_far = z > 7.0f;
  z = select(is_far, Vector{}, z);
  const Vector t = 1.0f / (1.0f + 0.5f * z);
  constexpr float coefficients[] = {-0.46242652f, 0.62817816f, 0.0300917f,  -0.70347307f, 0.34665256f,
                                    -0.08875333f, 0.41395713f, 0.99523599f, -1.26526754f};
  Vector p = broadcast(0.10580495f);
  for (const float coefficient : coefficients) p = p * t + coefficient;
  const Vector tail = select(is_far, Vector{}, 0.5f * t * exponential(p - z * z));
  return x * select(x < 0.0f, tail, 1.0f - tail);
}

inline Vector activate(std::uint32_t activation, Vector x) {
  switch (activation) {
    case GELU_TANH:  // 0.5 (1 + tanh(u)) is the logistic function of 2u
      return gated_by_logistic(x, 1.5957691216057308f * (x + 0.044715f * x * x * x));
    case GELU_ERF:
      return gelu_erf(x);
    case RELU:
      return select(x > 0.0f, x, Vector{});
    case NO_ACTIVATION:
      return x;
    default:
      return gated_by_logistic(x, x);
  }
}

inline float activate(std::uint32_t activation, float x) { return activate(activation, broadcast(x))[0]; }

}  // namespace softmetal::cpu::native::FASTGO_ISA
