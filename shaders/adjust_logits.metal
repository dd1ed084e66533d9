// adjust_logits: repetition, presence and frequency penalties and a bias for each token, before `sample`.
//
//   logits, y (rows, vocab_size) float32; row r belongs to sequence sequences[r]
//   seen (num_sequences, vocab_size) uint32, bias (num_sequences, vocab_size) float32
//
// A row's logits follow tokens[r] at positions[r]; if that token was generated, it is counted in `seen` first, so that
// a recorded decode step keeps its own counts. Repetition divides a positive logit and multiplies a negative one
// (Keskar et al. 2019, as transformers does it) for every token of prompt and answer; presence and frequency are
// subtracted, and count only the answer, as the OpenAI API defines them. Grid: one thread a logit, (vocab_size, rows).
#include <metal_stdlib>

#include "include/adjust_logits_args.h"
using namespace metal;

kernel void adjust_logits(constant AdjustLogitsArgs& args [[buffer(0)]], device const float* logits [[buffer(1)]],
                          device const PenaltyParameters* penalties [[buffer(2)]],
                          device const int* tokens [[buffer(3)]], device const int* positions [[buffer(4)]],
                          device const int* sequences [[buffer(5)]], device const float* bias [[buffer(6)]],
                          device uint* seen [[buffer(7)]], device float* y [[buffer(8)]],
                          uint2 place [[thread_position_in_grid]]) {
  uint id = place.x;
  uint row = place.y;
  if (id >= args.vocab_size) {
    return;
  }
  uint sequence = min(uint(sequences[row]), args.num_sequences - 1);
  device const PenaltyParameters& penalty = penalties[sequence];
  ulong entry = ulong(sequence) * args.vocab_size + id;
  uint times_seen = seen[entry];
  if (id == uint(tokens[row]) && uint(positions[row]) >= penalty.prompt_length) {
    times_seen++;
    seen[entry] = times_seen;
  }
  float x = logits[ulong(row) * args.vocab_size + id];
  if (times_seen != 0) {
    x = x > 0.0f ? x / penalty.repetition : x * penalty.repetition;
  }
  uint count = times_seen & ~SEEN_IN_PROMPT;
  if (count > 0) {
    x -= penalty.presence + penalty.frequency * float(count);
  }
  y[ulong(row) * args.vocab_size + id] = x + bias[entry];
}
