// The RMSNorm before a one-row product, done by every threadgroup for itself.
//
// The residual stream may get a branch added first, which may have a norm of its own (Gemma's post-norm). A row is held
// in registers, so it has at most 16 columns a thread.
#pragma once

#include "early_start.h"
#include "reduce.h"
#include "row_cut.h"

constant constexpr uint ROW_FOURS = 4;  // of a thread

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
  float4 fours[ROW_FOURS];
};

inline void load_fours(device const float* x, thread const TilePlace& place, thread NormRow& row) {
  uint threads = tile_simdgroups * 32;
  for (uint i = 0; i < ROW_FOURS; i++) {
    uint index = place.simdgroup * 32 + place.lane + i * threads;
    row.fours[i] =
        i * threads * 4 < tile_columns && index * 4 < tile_columns ? ((device const float4*)x)[index] : float4(0.0f);
  }
}

inline float squares_of(thread const NormRow& row) {
  float sum = 0.0f;
  for (uint i = 0; i < ROW_FOURS; i++) {
    sum += dot(row.fours[i], row.fours[i]);
  }
  return sum;
}

inline float inverse_rms(float squares, float eps) { return precise::rsqrt(squares / float(tile_columns) + eps); }

inline float inverse_rms_of(thread const NormRow& row, float eps, thread const TilePlace& place,
                            threadgroup float* scratch) {
  return inverse_rms(threadgroup_sum(squares_of(row), scratch, place.lane, place.simdgroup, tile_simdgroups), eps);
}

// The weights of the branch's norm, which a kernel loads before it waits for its inputs.
inline void load_post_weights(thread const NormInputs& inputs, thread const TilePlace& place, thread NormRow& weights) {
  if (has_post_norm) {
    load_fours(inputs.post_weight, place, weights);
  }
}

// Puts the sum of x and the branch into `row`; where `writes_stream`, stores it. `scratch` holds MAX_SIMDGROUPS floats.
inline void load_stream(thread const NormInputs& inputs, thread const NormRow& post_weights, bool writes_stream,
                        device float* stream, thread const TilePlace& place, threadgroup float* scratch,
                        thread NormRow& row) {
  load_fours(inputs.x, place, row);
  if (has_branch) {
    NormRow branch;
    load_fours(inputs.branch, place, branch);
    float scale = has_post_norm ? inverse_rms_of(branch, inputs.eps, place, scratch) : 1.0f;
    for (uint i = 0; i < ROW_FOURS; i++) {
      row.fours[i] += has_post_norm ? branch.fours[i] * scale * post_weights.fours[i] : branch.fours[i];
      uint index = place.simdgroup * 32 + place.lane + i * tile_simdgroups * 32;
      if (writes_stream && index * 4 < tile_columns) {
        ((device float4*)stream)[index] = row.fours[i];
      }
    }
  }
}

// Puts the normed row into `row`. `scratch` holds 2 * MAX_SIMDGROUPS floats.
inline void load_normed(thread const NormInputs& inputs, thread const NormRow& post_weights, bool writes_stream,
                        device float* stream, thread const TilePlace& place, threadgroup float* scratch,
                        thread NormRow& row) {
  load_stream(inputs, post_weights, writes_stream, stream, place, scratch + MAX_SIMDGROUPS, row);
  NormRow weights;  // on their way while the sum is made
  load_fours(inputs.weight, place, weights);
  float scale = inverse_rms_of(row, inputs.eps, place, scratch);
  for (uint i = 0; i < ROW_FOURS; i++) {
    row.fours[i] *= scale * weights.fours[i];
  }
}
