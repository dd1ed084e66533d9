// head_finish: the logits of the rows that can reach the threshold; HEAD_NOT_FINISHED for all others.
//
//   upper (vocab_size,) and threshold (1,) float32 -> logits (vocab_size,) float32
//
// Grid: groups of HEAD_GROUP rows.
#include "include/head_row.h"

kernel void head_finish(constant HeadArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                        device const float* x [[buffer(2)]], device const float* upper [[buffer(3)]],
                        device const float* threshold [[buffer(4)]], device float* logits [[buffer(5)]],
                        uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                        uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  float least = threshold[0];
  uint end = min((group + 1) * HEAD_GROUP, args.vocab_size);
  for (uint row = group * HEAD_GROUP + simdgroup; row < end; row += HEAD_SIMDGROUPS) {
    // Written so that a NaN is finished, and shows.
    bool is_out = least > HEAD_NOT_FINISHED && upper[row] < least;
    float logit = is_out ? HEAD_NOT_FINISHED : head_logit(args, weight, x, row, lane);
    if (lane == 0) {
      logits[row] = logit;
    }
  }
}
