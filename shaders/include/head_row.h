// A row's logit, bit by bit as `matmul_q8_0_r1` computes it.
#pragma once

#include "head_args.h"
#include "matmul_tile.h"

inline float head_logit(constant HeadArgs& args, device const uchar* weight, device const float* x, uint row,
                        uint lane) {
  Weights weights = {weight, args.planes};
  float4 sums[1] = {};
  accumulate<Q8_0, 1, 1>(weights, x, 0, 1, row, args.vocab_size, args.columns, lane, sums);
  return simd_sum(horizontal_sum(sums[0]));
}
