// Arguments of the log-probability kernels.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct LogProbabilitiesArgs {
  uint vocab_size;
  uint parts;  // into which a row is cut: every parts-th logit belongs to one
};

enum LogProbabilitySizes : uint {
  MOST_LIKELY = 20,  // tokens that are named beside the chosen one
};
