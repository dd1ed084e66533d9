// What may follow a product in the same kernel: a bias of each output, then an activation.
//
// Both are function constants, so that nothing is left of what a pipeline does not ask for.
#pragma once

#include "activation.h"

constant bool has_bias [[function_constant(8)]];
constant uint output_activation [[function_constant(9)]];  // of enum Activation

inline float finished(float sum, device const float* bias, uint output) {
  return activate(output_activation, has_bias ? sum + bias[output] : sum);
}
