// Arguments of the sampling kernels, for shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct SampleArgs {
  uint vocab_size;
  uint num_sequences;
  uint max_positions;  // of a sequence's history
};

// How one sequence's tokens are chosen. Written by the host before a run.
struct SamplingParameters {
  uint seed_low;
  uint seed_high;
  float temperature;  // 0: arg-max
  uint top_k;         // 0: all
  float top_p;        // 1: all
  float min_p;        // 0: all
};

enum SampleSizes : uint {
  SAMPLE_SPAN = 4096,  // logits a threadgroup of sample_partial
  NOISE_RUN = 512,     // tokens whose random numbers come from NOISE_RUN / 4 counters: see `noise_bits`
  SAMPLE_BLOCKS = 32,  // blocks of 128 logits in a span, each spread over it: see sample_partial
};

#define LOWEST_SCORE -3.0e38f  // a logit that is not above it is never chosen
