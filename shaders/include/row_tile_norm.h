// The RMSNorm before a one-row product in tiles, done by every threadgroup while it stages its inputs.
//
// The residual stream may get a branch added first, which may have a norm of its own (Gemma's post-norm). A row is held
// in registers, so it has at most 16 columns a thread and fits one staged piece.
#pragma once

#include "reduce.h"
#include "row_tile_sums.h"

constant bool has_branch [[function_constant(3)]];
constant bool has_post_norm [[function_constant(4)]];  // of the branch

struct NormInputs {
  device const float* x;
  device const float* branch;
  device const float* post_weight;
  device const float* weight;
  float eps;
};

// A thread's columns, four at a time: numbers simdgroup * 32 + lane + i * threads.
struct NormRow {
  float4 fours[STAGED_AT_ONCE];
};

inline void load_fours(device const float* x, thread const TilePlace& place, thread NormRow& row) {
  uint threads = tile_simdgroups * 32;
  for (uint i = 0; i < STAGED_AT_ONCE; i++) {
    uint index = place.simdgroup * 32 + place.lane + i * threads;
    row.fours[i] =
        i * threads * 4 < tile_columns && index * 4 < tile_columns ? ((device const float4*)x)[index] : float4(0.0f);
  }
}

inline float inverse_rms_of(thread const NormRow& row, float eps, thread const TilePlace& place,
                            threadgroup float* scratch) {
  float sum = 0.0f;
  for (uint i = 0; i < STAGED_AT_ONCE; i++) {
    sum += dot(row.fours[i], row.fours[i]);
  }
  float total = threadgroup_sum(sum, scratch, place.lane, place.simdgroup, tile_simdgroups);
  return precise::rsqrt(total / float(tile_columns) + eps);
}

// The weights of the norms; a kernel loads them before it waits for its inputs.
struct NormWeights {
  NormRow post;
  NormRow own;
};

inline void load_norm_weights(thread const NormInputs& inputs, thread const TilePlace& place,
                              thread NormWeights& weights) {
  if (has_post_norm) {
    load_fours(inputs.post_weight, place, weights.post);
  }
  load_fours(inputs.weight, place, weights.own);
}

// Stages the normed row. Where `writes_stream`, stores the sum of x and the branch. `scratch` holds
// 2 * MAX_SIMDGROUPS floats.
template <typename Format>
inline void stage_norm(thread const NormInputs& inputs, thread const NormWeights& weights, bool writes_stream,
                       device float* stream, thread const TilePlace& place, threadgroup float4* staged,
                       threadgroup float* sums, threadgroup float* scratch) {
  uint threads = tile_simdgroups * 32;
  uint first = place.simdgroup * 32 + place.lane;
  NormRow row;
  load_fours(inputs.x, place, row);
  if (has_branch) {
    NormRow branch;
    load_fours(inputs.branch, place, branch);
    float scale = has_post_norm ? inverse_rms_of(branch, inputs.eps, place, scratch + MAX_SIMDGROUPS) : 1.0f;
    for (uint i = 0; i < STAGED_AT_ONCE; i++) {
      row.fours[i] += has_post_norm ? branch.fours[i] * scale * weights.post.fours[i] : branch.fours[i];
      uint index = first + i * threads;
      if (writes_stream && index * 4 < tile_columns) {
        ((device float4*)stream)[index] = row.fours[i];
      }
    }
  }
  float scale = inverse_rms_of(row, inputs.eps, place, scratch);
  uint whole = (tile_columns + STEP_COLUMNS - 1) / STEP_COLUMNS * STEP_COLUMNS / 4;
  for (uint i = 0; i < STAGED_AT_ONCE; i++) {
    uint index = first + i * threads;
    if (i * threads < whole && index < whole) {
      stage_four<Format>(row.fours[i] * scale * weights.own.fours[i], index, place.lane, staged, sums);
    }
  }
}
