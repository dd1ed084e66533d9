// head_high: from the high nibbles and the sketch of every row, the largest logit that it can have.
//
//   weight (vocab_size, columns) q8_split, sketch (vocab_size, directions) q8_0, bounds (vocab_size,) float32
//   upper (vocab_size,) float32; for each group of HEAD_GROUP rows the largest estimate and its row
//
// One threadgroup a group. Nothing is computed if no row or every row is wanted.
#include "include/head_args.h"
#include "include/matmul_tile.h"

// The high nibbles' part of 32 weights.
inline void load_high(thread const Weights& weights, ulong index, thread float4* out) {
  device const uchar4* bytes = plane<uchar4>(weights, HIGH) + index * 4;
  float scale = float(plane<half>(weights, SCALES)[index]);
  for (uint i = 0; i < 4; i++) {
    out[i] = (16.0f * float4(bytes[i] & uchar4(15)) - 120.5f) * scale;
    out[i + 4] = (16.0f * float4(bytes[i] >> uchar4(4)) - 120.5f) * scale;
  }
}

kernel void head_high(constant HeadArgs& args [[buffer(0)]], device const uint* wanted [[buffer(1)]],
                      device const uchar* weight [[buffer(2)]], device const uchar* sketch [[buffer(3)]],
                      device const float* bounds [[buffer(4)]], device const float* x [[buffer(5)]],
                      device const float* projection [[buffer(6)]], device float* upper [[buffer(7)]],
                      device float* scores [[buffer(8)]], device uint* ids [[buffer(9)]],
                      uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float best_scores[HEAD_SIMDGROUPS];
  threadgroup uint best_ids[HEAD_SIMDGROUPS];
  if (wanted[0] == 0 || wanted[0] > args.groups) {
    return;
  }
  Weights weights = {weight, args.planes};
  Weights sketches = {sketch, args.sketch_planes};
  float reach = projection[args.directions + HEAD_REACH];
  float slack = projection[args.directions + HEAD_SLACK];
  uint blocks = args.columns / WEIGHTS_PER_BLOCK;
  float best = HEAD_NOT_FINISHED;
  uint best_id = 0;
  uint end = min((group + 1) * HEAD_GROUP, args.vocab_size);
  for (uint row = group * HEAD_GROUP + simdgroup; row < end; row += HEAD_SIMDGROUPS) {
    float4 sums = float4(0.0f);
    for (uint block = lane; block < blocks; block += 32) {
      float4 values[8];
      load_high(weights, ulong(row) * blocks + block, values);
      sums += dot_block(values, x + block * WEIGHTS_PER_BLOCK, WEIGHTS_PER_BLOCK);
    }
    float sum = horizontal_sum(sums);
    for (uint d = lane; d < args.directions; d += 32) {
      ulong index = ulong(row) * args.directions + d;
      sum +=
          float(plane<char>(sketches, LOW)[index]) * float(plane<half>(sketches, SCALES)[index / 32]) * projection[d];
    }
    float estimate = simd_sum(sum);
    if (lane == 0) {
      upper[row] = estimate + (bounds[row] * reach + slack);
    }
    if (estimate > best) {
      best = estimate;
      best_id = row;
    }
  }
  if (lane == 0) {
    best_scores[simdgroup] = best;
    best_ids[simdgroup] = best_id;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0 && lane == 0) {
    for (uint s = 1; s < HEAD_SIMDGROUPS; s++) {
      if (best_scores[s] > best) {
        best = best_scores[s];
        best_id = best_ids[s];
      }
    }
    scores[group] = best;
    ids[group] = best_id;
  }
}
