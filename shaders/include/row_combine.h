// attention_combine of one row, done by every threadgroup of the product that follows for itself.
#pragma once

#include "attention_split_args.h"
#include "row_cut.h"

constant uint combined_splits [[function_constant(5)]];
constant uint combined_head_dim [[function_constant(6)]];

constant constexpr uint MAX_SPLITS = 16;
constant constexpr uint MAX_PARTS = 512;

// What the parts have for columns 4 * index and on.
struct Parts {
  float4 fours[MAX_SPLITS];
};

inline void load_parts(device const float* partial, uint index, thread Parts& parts) {
  uint head = index * 4 / combined_head_dim;
  uint element = index * 4 % combined_head_dim;
  for (uint s = 0; s < MAX_SPLITS && s < combined_splits; s++) {
    ulong part = ulong(head) * combined_splits + s;
    bool is_there = index * 4 < tile_columns;
    parts.fours[s] = is_there ? *(device const float4*)(partial + part * combined_head_dim + element) : float4(0.0f);
  }
}

inline float4 sum_parts(thread const Parts& parts, uint index, threadgroup const float* shares) {
  uint first = index * 4 < tile_columns ? index * 4 / combined_head_dim * combined_splits : 0;
  float4 sum = float4(0.0f);
  for (uint s = 0; s < MAX_SPLITS && s < combined_splits; s++) {
    sum += parts.fours[s] * shares[first + s];
  }
  return sum;
}

// The share that each part has of its head's softmax.
inline void find_shares(device const float* bests, device const float* totals, thread const TilePlace& place,
                        threadgroup float* shares) {
  uint heads = tile_columns / combined_head_dim;
  for (uint head = place.simdgroup; head < heads; head += tile_simdgroups) {
    bool is_part = place.lane < combined_splits;
    uint part = head * combined_splits + place.lane;
    float best = is_part ? bests[part] : LOWEST_ATTENTION_SCORE;
    float total = is_part ? totals[part] : 0.0f;
    float row_best = simd_max(best);
    float weight = is_part ? precise::exp(best - row_best) : 0.0f;
    float denominator = simd_sum(total * weight);
    if (is_part) {
      shares[part] = weight / denominator;
    }
  }
}
