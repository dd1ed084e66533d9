// The soft cap of logits and attention scores. Bello et al. 2016.
#pragma once

#include <metal_stdlib>
using namespace metal;

// tanh saturates at 1 long before 15, where an implementation by exponentials may overflow.
inline float capped(float x, float cap) { return cap * precise::tanh(clamp(x / cap, -15.0f, 15.0f)); }
