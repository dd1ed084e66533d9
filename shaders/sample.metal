// sample: the next token from the logits, without reading them back to the host.
//
// Temperature 0 takes the arg-max (the lowest id among equals). Otherwise adds Gumbel noise to logits / temperature and
// takes the arg-max, which draws exactly from the softmax (Gumbel 1954; Maddison et al. 2014). The noise is Philox at
// (seed, position, token id), so a run can be repeated on any device.
//
//   sample_partial: logits (vocab_size,) float32 -> one candidate a threadgroup of SAMPLE_SPAN logits
//   sample: candidates -> `token`, also noted in `history` at `position`; `next_position` = position + 1
#include "include/philox.h"
#include "include/sample_args.h"

constant constexpr uint SIMDGROUPS = 4;

struct Candidate {
  float score;
  uint id;
};

inline bool beats(float score, uint id, float other_score, uint other_id) {
  return score > other_score || (score == other_score && id < other_id);
}

// The best candidate of a simdgroup, in every lane.
inline Candidate best_of_simdgroup(Candidate mine) {
  for (ushort distance = 16; distance > 0; distance /= 2) {
    float score = simd_shuffle_xor(mine.score, distance);
    uint id = simd_shuffle_xor(mine.id, distance);
    if (beats(score, id, mine.score, mine.id)) {
      mine.score = score;
      mine.id = id;
    }
  }
  return mine;
}

kernel void sample_partial(constant SampleArgs& args [[buffer(0)]], device const float* logits [[buffer(1)]],
                           device const SampleParameters* parameters [[buffer(2)]],
                           device const int* position [[buffer(3)]], device float* scores [[buffer(4)]],
                           device uint* ids [[buffer(5)]], uint group [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]],
                           uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float group_scores[SIMDGROUPS];
  threadgroup uint group_ids[SIMDGROUPS];
  float temperature = parameters->temperature;
  uint2 key = uint2(parameters->seed_low, parameters->seed_high);
  Candidate mine = {LOWEST_SCORE, 0xFFFFFFFFu};
  uint end = min((group + 1) * SAMPLE_SPAN, args.vocab_size);
  for (uint id = group * SAMPLE_SPAN + thread_index; id < end; id += threads) {
    float score = logits[id];
    if (temperature > 0.0f) {
      uint4 random = philox(key, uint4(id, uint(position[0]), 0, 0));
      score = score / temperature - precise::log(exponential(random.x));
    }
    if (beats(score, id, mine.score, mine.id)) {
      mine.score = score;
      mine.id = id;
    }
  }
  mine = best_of_simdgroup(mine);
  if (lane == 0) {
    group_scores[simdgroup] = mine.score;
    group_ids[simdgroup] = mine.id;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index == 0) {
    for (uint s = 1; s < threads / 32; s++) {
      if (beats(group_scores[s], group_ids[s], mine.score, mine.id)) {
        mine.score = group_scores[s];
        mine.id = group_ids[s];
      }
    }
    scores[group] = mine.score;
    ids[group] = mine.id;
  }
}

kernel void sample(constant SampleArgs& args [[buffer(0)]], device const float* scores [[buffer(1)]],
                   device const uint* ids [[buffer(2)]], device const int* position [[buffer(3)]],
                   device int* token [[buffer(4)]], device int* next_position [[buffer(5)]],
                   device int* history [[buffer(6)]], uint lane [[thread_index_in_simdgroup]]) {
  Candidate mine = {LOWEST_SCORE, 0xFFFFFFFFu};
  for (uint i = lane; i < args.candidates; i += 32) {
    if (beats(scores[i], ids[i], mine.score, mine.id)) {
      mine.score = scores[i];
      mine.id = ids[i];
    }
  }
  mine = best_of_simdgroup(mine);
  if (lane == 0) {
    // All logits NaN leaves no candidate: an id outside the vocabulary tells the host.
    int id = mine.id < args.vocab_size ? int(mine.id) : -1;
    int here = position[0];
    token[0] = id;
    history[here] = id;
    next_position[0] = here + 1;
  }
}
