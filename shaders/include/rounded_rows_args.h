// Arguments of the kernels that round rows of inputs: round_rows, norm_round.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct RoundRowsArgs {
  uint columns;
};

struct NormRoundArgs {
  float eps;
};
