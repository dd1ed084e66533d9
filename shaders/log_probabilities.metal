// log_probabilities: logits - log(sum(exp(logits))) of the chosen token of each row, and of the MOST_LIKELY likeliest.
//
//   log_probabilities_partial: logits (rows, vocab_size) float32 -> for each part of a row its likeliest logits in
//   falling
//     order, (rows, parts, MOST_LIKELY), and their ids; the maximum and sum(exp(logit - maximum)) of a part in `sums`.
//     Grid: one thread a part, (parts, rows).
//   log_probabilities: `token` (rows,) -> `values` (rows, 1 + MOST_LIKELY), the token's first, and `likely` (rows,
//     MOST_LIKELY); of equal logits the lower id comes first. Places beyond the vocabulary hold id -1. Grid: (rows).
//
// What may never be drawn, NaN too, has log-probability -INFINITY.
#include <metal_stdlib>

#include "include/log_probabilities_args.h"
#include "include/sample_args.h"
using namespace metal;

constant constexpr uint MERGE_THREADS = 256;
constant constexpr uint MERGE_SIMDGROUPS = MERGE_THREADS / 32;
constant constexpr uint NO_ID = 0xFFFFFFFFu;

inline bool is_likelier(float logit, uint id, float other_logit, uint other_id) {
  return logit > other_logit || (logit == other_logit && id < other_id);
}

kernel void log_probabilities_partial(constant LogProbabilitiesArgs& args [[buffer(0)]],
                                      device const float* logits [[buffer(1)]], device float* tops [[buffer(2)]],
                                      device uint* top_ids [[buffer(3)]], device float2* sums [[buffer(4)]],
                                      uint2 place [[thread_position_in_grid]]) {
  if (place.x >= args.parts) {
    return;
  }
  device const float* row = logits + ulong(place.y) * args.vocab_size;
  float best[MOST_LIKELY];
  uint ids[MOST_LIKELY];
  for (uint i = 0; i < MOST_LIKELY; i++) {
    best[i] = LOWEST_SCORE;
    ids[i] = NO_ID;
  }
  for (uint id = place.x; id < args.vocab_size; id += args.parts) {
    float logit = row[id];
    if (!(logit > best[MOST_LIKELY - 1])) {
      continue;
    }
    // Ids rise, so an equal logit goes behind those that are there.
    uint i = MOST_LIKELY - 1;
    for (; i > 0 && logit > best[i - 1]; i--) {
      best[i] = best[i - 1];
      ids[i] = ids[i - 1];
    }
    best[i] = logit;
    ids[i] = id;
  }
  float sum = 0.0f;
  for (uint id = place.x; id < args.vocab_size; id += args.parts) {
    sum += row[id] > LOWEST_SCORE ? precise::exp(row[id] - best[0]) : 0.0f;
  }
  ulong part = ulong(place.y) * args.parts + place.x;
  sums[part] = float2(best[0], sum);
  for (uint i = 0; i < MOST_LIKELY; i++) {
    tops[part * MOST_LIKELY + i] = best[i];
    top_ids[part * MOST_LIKELY + i] = ids[i];
  }
}

// The best of a threadgroup's candidates in every thread. One barrier a call; `turn` takes one half of the scratch
// memory after the other.
inline void find_likeliest(thread float& logit, thread uint& id, threadgroup float* logits, threadgroup uint* ids,
                           uint thread_index, uint turn) {
  for (ushort distance = 16; distance > 0; distance /= 2) {
    float other_logit = simd_shuffle_xor(logit, distance);
    uint other_id = simd_shuffle_xor(id, distance);
    if (is_likelier(other_logit, other_id, logit, id)) {
      logit = other_logit;
      id = other_id;
    }
  }
  uint first = turn * MERGE_SIMDGROUPS;
  if (thread_index % 32 == 0) {
    logits[first + thread_index / 32] = logit;
    ids[first + thread_index / 32] = id;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint s = first; s < first + MERGE_SIMDGROUPS; s++) {
    if (is_likelier(logits[s], ids[s], logit, id)) {
      logit = logits[s];
      id = ids[s];
    }
  }
}

kernel void log_probabilities(constant LogProbabilitiesArgs& args [[buffer(0)]],
                              device const float* logits [[buffer(1)]], device const int* token [[buffer(2)]],
                              device const float* tops [[buffer(3)]], device const uint* top_ids [[buffer(4)]],
                              device const float2* sums [[buffer(5)]], device float* values [[buffer(6)]],
                              device int* likely [[buffer(7)]], uint row [[threadgroup_position_in_grid]],
                              uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float group_logits[2 * MERGE_SIMDGROUPS];
  threadgroup uint group_ids[2 * MERGE_SIMDGROUPS];
  ulong first_part = ulong(row) * args.parts;

  // The parts' logits fall, so a thread's next candidate is the first that comes after the one chosen last.
  float chosen_logit = INFINITY;
  uint chosen_id = 0;
  float largest = LOWEST_SCORE;
  float log_sum = 0.0f;
  for (uint rank = 0; rank < MOST_LIKELY; rank++) {
    float logit = LOWEST_SCORE;
    uint id = NO_ID;
    for (uint part = thread_index; part < args.parts; part += MERGE_THREADS) {
      ulong first = (first_part + part) * MOST_LIKELY;
      uint i = 0;
      while (i < MOST_LIKELY && !is_likelier(chosen_logit, chosen_id, tops[first + i], top_ids[first + i])) {
        i++;
      }
      if (i < MOST_LIKELY && is_likelier(tops[first + i], top_ids[first + i], logit, id)) {
        logit = tops[first + i];
        id = top_ids[first + i];
      }
    }
    find_likeliest(logit, id, group_logits, group_ids, thread_index, rank % 2);
    chosen_logit = logit;
    chosen_id = id;
    if (rank == 0) {
      largest = logit;
      float sum = 0.0f;
      for (uint part = thread_index; part < args.parts; part += MERGE_THREADS) {
        float2 of_part = sums[first_part + part];
        sum += of_part.y > 0.0f ? of_part.y * precise::exp(of_part.x - largest) : 0.0f;
      }
      sum = simd_sum(sum);
      threadgroup_barrier(mem_flags::mem_threadgroup);
      if (thread_index % 32 == 0) {
        group_logits[thread_index / 32] = sum;
      }
      threadgroup_barrier(mem_flags::mem_threadgroup);
      sum = 0.0f;
      for (uint s = 0; s < MERGE_SIMDGROUPS; s++) {
        sum += group_logits[s];
      }
      log_sum = precise::log(sum);
      threadgroup_barrier(mem_flags::mem_threadgroup);
    }
    if (thread_index == 0) {
      values[row * (1 + MOST_LIKELY) + 1 + rank] = id == NO_ID ? -INFINITY : logit - largest - log_sum;
      likely[row * MOST_LIKELY + rank] = int(id);
    }
  }
  if (thread_index == 0) {
    int id = token[row];
    bool is_sound = id >= 0 && uint(id) < args.vocab_size;
    float logit = is_sound ? logits[ulong(row) * args.vocab_size + uint(id)] : LOWEST_SCORE;
    values[row * (1 + MOST_LIKELY)] = logit > LOWEST_SCORE ? logit - largest - log_sum : -INFINITY;
  }
}
