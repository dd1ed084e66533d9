// Arguments of the sample kernels, for the shader and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct SampleArgs {
  uint vocab_size;
  uint candidates;
};

// Written by the host before a run.
struct SampleParameters {
  uint seed_low;
  uint seed_high;
  float temperature;
};

enum SampleSizes : uint { SAMPLE_SPAN = 4096 };  // logits a threadgroup of sample_partial

#define LOWEST_SCORE -3.0e38f
