// One softmax from the parts that the simdgroups of a threadgroup made of a row.
#pragma once

#include <metal_stdlib>
using namespace metal;

// Smaller than any score, yet finite: infinities don't survive fast math.
constant constexpr float LOWEST = -1e30f;

// A row of floats to be written.
struct FloatRow {
  device float* y;
  void write(uint d, float value) const thread { y[d] = value; }
};

// Called by one simdgroup. Part s: its best score, the sum of its weights e^(score - best), and the values so weighted
// at partial[s * stride]. `Output` has the member of FloatRow.
template <uint PARTS, typename Output>
inline void merge_parts(threadgroup const float* best, threadgroup const float* total, threadgroup const float* partial,
                        uint stride, uint head_dim, uint lane, thread const Output& output) {
  float overall = best[0];
  for (uint s = 1; s < PARTS; s++) {
    overall = max(overall, best[s]);
  }
  float denominator = 0.0f;
  for (uint s = 0; s < PARTS; s++) {
    denominator += total[s] * precise::exp(best[s] - overall);
  }
  for (uint d = lane; d < head_dim; d += 32) {
    float numerator = 0.0f;
    for (uint s = 0; s < PARTS; s++) {
      numerator += partial[s * stride + d] * precise::exp(best[s] - overall);
    }
    output.write(d, numerator / denominator);
  }
}
