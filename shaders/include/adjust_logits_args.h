// Arguments of adjust_logits, for the shader and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct AdjustLogitsArgs {
  uint vocab_size;
  uint num_sequences;
};

// One sequence's penalties. Written by the host before a run.
struct PenaltyParameters {
  float repetition;    // 1: none
  float presence;      // 0: none
  float frequency;     // 0: none
  uint prompt_length;  // tokens at lower positions were given, the others generated
};

#define SEEN_IN_PROMPT 0x80000000u  // in `seen`; the other bits count how often a token was generated
