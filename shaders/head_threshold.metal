// head_threshold: a logit that at least `wanted` rows reach.
//
// The best rows of the `wanted` best groups are computed in full; the smallest of their logits is the threshold. It is
// HEAD_NOT_FINISHED, which every row reaches, if all logits are wanted (0) or more than there are groups.
//
//   scores, ids (groups,) from head_high; threshold (1,) float32
//
// One threadgroup.
#include "include/head_row.h"

kernel void head_threshold(constant HeadArgs& args [[buffer(0)]], device const uint* wanted [[buffer(1)]],
                           device const uchar* weight [[buffer(2)]], device const float* x [[buffer(3)]],
                           device const float* scores [[buffer(4)]], device const uint* ids [[buffer(5)]],
                           device float* threshold [[buffer(6)]], uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float smallest[HEAD_SIMDGROUPS];
  uint count = wanted[0];
  if (count == 0 || count > args.groups) {
    if (simdgroup == 0 && lane == 0) {
      threshold[0] = HEAD_NOT_FINISHED;
    }
    return;
  }
  float mine = -HEAD_NOT_FINISHED;
  for (uint group = simdgroup; group < args.groups; group += HEAD_SIMDGROUPS) {
    float score = scores[group];
    uint better = 0;
    for (uint other = lane; other < args.groups; other += 32) {
      float rival = scores[other];
      better += uint(rival > score || (rival == score && other < group));
    }
    if (simd_sum(better) < count) {
      mine = min(mine, head_logit(args, weight, x, ids[group], lane));
    }
  }
  if (lane == 0) {
    smallest[simdgroup] = mine;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0 && lane == 0) {
    for (uint s = 1; s < HEAD_SIMDGROUPS; s++) {
      mine = min(mine, smallest[s]);
    }
    threshold[0] = mine;
  }
}
