// Philox 4x32-10, a counter-based generator: the same (key, counter) gives the same numbers on every device.
// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
#pragma once

#include <metal_stdlib>
using namespace metal;

inline uint4 philox(uint2 key, uint4 counter) {
  for (uint round = 0; round < 10; round++) {
    uint high0 = mulhi(0xD2511F53u, counter.x);
    uint low0 = 0xD2511F53u * counter.x;
    uint high1 = mulhi(0xCD9E8D57u, counter.z);
    uint low1 = 0xCD9E8D57u * counter.z;
    counter = uint4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
    key += uint2(0x9E3779B9u, 0xBB67AE85u);
  }
  return counter;
}

// A standard exponential variate from 32 random bits: -log(1 - u), by its series where 1 - u would round.
inline float exponential(uint bits) {
  float u = (float(bits) + 0.5f) * 2.3283064365386963e-10f;
  if (u < 0.015625f) {
    return u * (1.0f + u * (0.5f + u * (0.33333333f + u * 0.25f)));
  }
  return -precise::log(max(1.0f - u, 2.9802322e-8f));
}
