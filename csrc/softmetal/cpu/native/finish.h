// What may follow a product in the same kernel, as shaders/include/finish.h says: a bias, then an activation.
#pragma once

#include <cstddef>

#include "cpu/native/activation.h"
#include "cpu/native/native.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Of a matmul kernel, whose function constants are has_bias and output_activation.
class Finish {
 public:
  explicit Finish(const Launch& launch)
      : bias_(is_true(launch, 0) ? static_cast<const float*>(launch.buffers[4]) : nullptr) {
    std::memcpy(&activation_, launch.constants[1].bytes, sizeof activation_);
  }

  bool is_needed() const { return bias_ != nullptr || activation_ != NO_ACTIVATION; }

  // Finishes the sums of the outputs [first, last) at sums[0], sums[1] ...
  void operator()(float* sums, std::uint32_t first, std::uint32_t last) const {
    if (bias_ != nullptr) {
      for (std::uint32_t n = first; n < last; n++) sums[n - first] += bias_[n];
    }
    if (activation_ == NO_ACTIVATION) return;
    std::uint32_t n = 0;
    for (; n + width <= last - first; n += width) store(sums + n, activate(activation_, load(sums + n)));
    for (; n < last - first; n++) sums[n] = activate(activation_, broadcast(sums[n]))[0];
  }

 private:
  const float* bias_;
  std::uint32_t activation_;
};

}  // namespace softmetal::cpu::native::FASTGO_ISA
