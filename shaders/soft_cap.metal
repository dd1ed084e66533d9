// soft_cap: y = cap tanh(x / cap), which keeps logits within (-cap, cap). Gemma 2 report, 2024.
//
//   x, y (count,) float32. One thread an element.
#include "include/soft_cap.h"

struct SoftCapArgs {
  uint count;
  float cap;
};

kernel void soft_cap(constant SoftCapArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                     device float* y [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  if (i < args.count) {
    y[i] = capped(x[i], args.cap);
  }
}
