// sample: the next token of each row from its logits, without reading them back to the host.
//
// Temperature 0 takes the arg-max (the lowest id among equals). Otherwise adds Gumbel noise to logits / temperature and
// takes the arg-max of what top-k, top-p and min-p leave, which draws exactly from the softmax over it (Gumbel 1954;
// Maddison et al. 2014). The noise depends on (seed, position, token id) alone: a run can be repeated on any device,
// and a filter changes a token only if it removes it.
//
//   sample_partial: logits (rows, vocab_size) float32 -> of each span of SAMPLE_SPAN logits the best candidate, and for
//     filtered rows what lets `sample` read little: the maxima of its blocks and its mass. Grid: (spans, rows).
//   sample: -> `token`, also noted in `history` at `positions`; `next_position` = position + 1. Grid: (rows).
//
// Settings and positions may lie in the host's memory, so kernels read them before they wait for the logits: nothing
// but `sample` itself writes them.
//
// A block is what four neighbouring threads of sample_partial read: 32 runs of 4 logits, 128 apart.
#include "include/early_start.h"
#include "include/philox.h"
#include "include/sample_select.h"

constant constexpr uint SPAN_THREADS = 128;
constant constexpr uint SPAN_SIMDGROUPS = SPAN_THREADS / 32;
constant constexpr uint SPAN_RUNS = SAMPLE_SPAN / NOISE_RUN;
constant constexpr uint BLOCK_WIDTH = SPAN_THREADS / SAMPLE_BLOCKS;
static_assert(NOISE_RUN == 4 * SPAN_THREADS, "a thread of sample_partial uses all four words of a counter");
constant constexpr uint MAX_LISTED = 2048;
constant constexpr uint MOST_GUESSED = 1024;  // how many logits top-p is first tried on

struct Candidate {
  float score;
  uint id;
};

inline bool beats(float score, uint id, float other_score, uint other_id) {
  return score > other_score || (score == other_score && id < other_id);
}

inline void improve(thread Candidate& best, float score, uint id) {
  if (beats(score, id, best.score, best.id)) {
    best.score = score;
    best.id = id;
  }
}

// The best candidate of a simdgroup, in every lane.
inline Candidate best_of_simdgroup(Candidate mine) {
  for (ushort distance = 16; distance > 0; distance /= 2) {
    float score = simd_shuffle_xor(mine.score, distance);
    uint id = simd_shuffle_xor(mine.id, distance);
    improve(mine, score, id);
  }
  return mine;
}

// The best candidate of a threadgroup, in every thread. `scores` and `ids` hold one element a simdgroup and must not be
// written again before the next barrier.
inline Candidate best_of_group(Candidate mine, threadgroup float* scores, threadgroup uint* ids, uint thread_index,
                               uint simdgroups) {
  mine = best_of_simdgroup(mine);
  if (thread_index % 32 == 0) {
    scores[thread_index / 32] = mine.score;
    ids[thread_index / 32] = mine.id;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint s = 0; s < simdgroups; s++) {
    improve(mine, scores[s], ids[s]);
  }
  return mine;
}

// Field by field: Metal's structs copy themselves only within one address space.
inline SamplingParameters settings_of(device const SamplingParameters& from) {
  return {from.seed_low, from.seed_high, from.temperature, from.top_k, from.top_p, from.min_p};
}

// Random words of four tokens: `id` is the first of them, the others follow SPAN_THREADS apart.
inline uint4 noise_bits(uint id, uint position, thread const SamplingParameters& parameters) {
  uint counter = id / NOISE_RUN * (NOISE_RUN / 4) + id % (NOISE_RUN / 4);
  return philox(uint2(parameters.seed_low, parameters.seed_high), uint4(counter, position, 0, 0));
}

inline float perturbed(float logit, uint bits, thread const SamplingParameters& parameters) {
  return logit / parameters.temperature - precise::log(exponential(bits));
}

inline bool is_filtered(thread const SamplingParameters& parameters) {
  return parameters.temperature > 0.0f && (parameters.top_k > 0 || parameters.top_p < 1.0f || parameters.min_p > 0.0f);
}

// A thread's best logit; all of them are on their way before the first is looked at.
inline Candidate best_logit(device const float* row, uint begin, uint end) {
  float4 values[SPAN_RUNS];
  for (uint i = 0; i < SPAN_RUNS; i++) {
    for (uint word = 0; word < 4; word++) {
      values[i][word] = row[min(begin + i * NOISE_RUN + word * SPAN_THREADS, end - 1)];
    }
  }
  Candidate best = {LOWEST_SCORE, 0xFFFFFFFFu};
  for (uint i = 0; i < SPAN_RUNS; i++) {
    for (uint word = 0; word < 4; word++) {
      uint id = begin + i * NOISE_RUN + word * SPAN_THREADS;
      if (id < end && values[i][word] > LOWEST_SCORE) {
        improve(best, values[i][word], id);
      }
    }
  }
  return best;
}

// The same of logits with noise.
inline Candidate best_drawn(device const float* row, uint begin, uint end, uint position,
                            thread const SamplingParameters& parameter) {
  Candidate best = {LOWEST_SCORE, 0xFFFFFFFFu};
  for (uint run = begin; run < end; run += NOISE_RUN) {
    uint4 bits = noise_bits(run, position, parameter);
    for (uint word = 0; word < 4; word++) {
      uint id = run + word * SPAN_THREADS;
      if (id < end && row[id] > LOWEST_SCORE) {
        improve(best, perturbed(row[id], bits[word], parameter), id);
      }
    }
  }
  return best;
}

kernel void sample_partial(constant SampleArgs& args [[buffer(0)]], device const float* logits [[buffer(1)]],
                           device const SamplingParameters* parameters [[buffer(2)]],
                           device const int* positions [[buffer(3)]], device const int* sequences [[buffer(4)]],
                           device float* scores [[buffer(5)]], device uint* ids [[buffer(6)]],
                           device float* masses [[buffer(7)]], device float* block_maxima [[buffer(8)]],
                           uint2 group [[threadgroup_position_in_grid]],
                           uint thread_index [[thread_index_in_threadgroup]], uint2 spans [[threadgroups_per_grid]]) {
  threadgroup float group_scores[SPAN_SIMDGROUPS];
  threadgroup uint group_ids[SPAN_SIMDGROUPS];
  SamplingParameters parameter = settings_of(parameters[min(uint(sequences[group.y]), args.num_sequences - 1)]);
  bool filtered = is_filtered(parameter);
  bool draws = parameter.temperature > 0.0f && !filtered;
  uint position = uint(positions[group.y]);
  wait_for_inputs();
  device const float* row = logits + ulong(group.y) * args.vocab_size;
  uint span = group.y * spans.x + group.x;
  uint begin = group.x * SAMPLE_SPAN + thread_index;
  uint end = min((group.x + 1) * SAMPLE_SPAN, args.vocab_size);

  Candidate mine = draws ? best_drawn(row, begin, end, position, parameter) : best_logit(row, begin, end);
  float block_maximum = max(mine.score, simd_shuffle_xor(mine.score, ushort(1)));
  block_maximum = max(block_maximum, simd_shuffle_xor(block_maximum, ushort(2)));
  Candidate best = best_of_group(mine, group_scores, group_ids, thread_index, SPAN_SIMDGROUPS);
  if (thread_index == 0) {
    scores[span] = best.score;
    ids[span] = best.id;
  }
  if (!filtered) {
    return;
  }
  if (thread_index % BLOCK_WIDTH == 0) {
    block_maxima[span * SAMPLE_BLOCKS + thread_index / BLOCK_WIDTH] = block_maximum;
  }
  if (parameter.top_k > 0 || parameter.top_p >= 1.0f) {
    return;
  }
  float mass = 0.0f;
  for (uint id = begin; id < end; id += SPAN_THREADS) {
    mass += row[id] > LOWEST_SCORE ? precise::exp((row[id] - best.score) / parameter.temperature) : 0.0f;
  }
  mass = simd_sum(mass);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index % 32 == 0) {
    group_scores[thread_index / 32] = mass;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index == 0) {
    for (uint s = 1; s < SPAN_SIMDGROUPS; s++) {
      mass += group_scores[s];
    }
    masses[span] = mass;
  }
}

// Lists the logits of a row from the key `bound` on, in the same order on every run; returns how many there are. More
// than MAX_LISTED are only counted.
inline uint list_from(uint bound, device const float* row, uint vocab_size, device const float* block_maxima,
                      uint blocks, threadgroup uint* keys, threadgroup uint* ids, uint thread_index) {
  uint lane = thread_index % 32;
  uint simdgroup = thread_index / 32;
  uint found = 0;
  for (uint block = simdgroup; block < blocks; block += SELECT_SIMDGROUPS) {
    if (key_of(block_maxima[block]) < bound) {
      continue;
    }
    uint first = block / SAMPLE_BLOCKS * SAMPLE_SPAN + block % SAMPLE_BLOCKS * BLOCK_WIDTH + lane * SPAN_THREADS;
    for (uint id = first; id < min(first + BLOCK_WIDTH, vocab_size); id++) {
      found += key_of(row[id]) >= bound ? 1 : 0;
    }
  }
  found = simd_sum(found);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (lane == 0) {
    keys[simdgroup] = found;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  uint next = 0;
  uint total = 0;
  for (uint s = 0; s < SELECT_SIMDGROUPS; s++) {
    next += s < simdgroup ? keys[s] : 0;
    total += keys[s];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (total > MAX_LISTED) {
    return total;
  }
  for (uint block = simdgroup; block < blocks; block += SELECT_SIMDGROUPS) {
    if (key_of(block_maxima[block]) < bound) {
      continue;
    }
    uint first = block / SAMPLE_BLOCKS * SAMPLE_SPAN + block % SAMPLE_BLOCKS * BLOCK_WIDTH + lane * SPAN_THREADS;
    uint mine = 0;
    for (uint id = first; id < min(first + BLOCK_WIDTH, vocab_size); id++) {
      mine += key_of(row[id]) >= bound ? 1 : 0;
    }
    uint place = next + simd_prefix_exclusive_sum(mine);
    next += simd_sum(mine);
    for (uint id = first; id < min(first + BLOCK_WIDTH, vocab_size); id++) {
      uint key = key_of(row[id]);
      if (key >= bound) {
        keys[place] = key;
        ids[place] = id;
        place++;
      }
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  return total;
}

// The calling thread's best candidate of what is kept.
template <typename Source>
inline Candidate draw(thread const Source& source, Cut cut, uint vocab_size, uint position,
                      thread const SamplingParameters& parameters, thread GroupSum& sum) {
  uint last_tied = cut.ties > 0 ? last_tied_id(source, cut, vocab_size, sum) : 0;
  Candidate mine = {LOWEST_SCORE, 0xFFFFFFFFu};
  for (uint i = sum.thread_index; i < source.size; i += SELECT_THREADS) {
    uint key = source.key(i);
    uint id = source.id(i);
    if (key > cut.key || (key == cut.key && cut.ties > 0 && id <= last_tied)) {
      uint bits = noise_bits(id, position, parameters)[id / SPAN_THREADS % 4];
      improve(mine, perturbed(logit_of(key), bits, parameters), id);
    }
  }
  return mine;
}

// Where a row's numbers lie.
struct Row {
  device const float* logits;
  device const float* block_maxima;
  device const float* span_maxima;
  device const float* span_masses;
  uint vocab_size;
  uint spans;
  uint position;
};

// A key below which no logit that is kept lies, if the guess holds that top-p needs few. As many blocks have a logit
// from it on as logits are wanted, so there are at least so many.
inline uint find_bound(thread const Row& row, thread const Filter& filter, thread const Mass& mass,
                       thread GroupSum& sum) {
  if (filter.top_k == 0 && filter.top_p >= 1.0f) {
    return lowest_key(filter, mass);
  }
  Count count;
  Logits maxima = {row.block_maxima, row.spans * SAMPLE_BLOCKS};
  uint wanted = filter.top_k > 0 ? filter.top_k : min(MOST_GUESSED, (maxima.size + 1) / 2);
  return wanted > maxima.size ? 1 : find_key(maxima, count, float(wanted), 1, key_of(mass.largest), sum);
}

// The calling thread's best candidate of what top-k, top-p and min-p leave.
inline Candidate draw_filtered(thread const Row& row, thread const SamplingParameters& parameters, float largest,
                               threadgroup uint* keys, threadgroup uint* ids, thread GroupSum& sum) {
  Filter filter = {parameters.top_k, parameters.top_p, parameters.min_p};
  Mass mass = {largest, parameters.temperature};
  uint bound = find_bound(row, filter, mass, sum);
  uint size = list_from(bound, row.logits, row.vocab_size, row.block_maxima, row.spans * SAMPLE_BLOCKS, keys, ids,
                        sum.thread_index);
  Listed listed = {keys, ids, min(size, MAX_LISTED)};
  bool is_complete = size <= MAX_LISTED;
  float mass_of_all = 0.0f;
  if (filter.top_k == 0 && filter.top_p < 1.0f) {
    for (uint span = sum.thread_index; span < row.spans; span += SELECT_THREADS) {
      mass_of_all += row.span_masses[span] * Mass::of(mass, key_of(row.span_maxima[span]));
    }
    mass_of_all = group_sum(sum, float3(mass_of_all)).x;
    is_complete = is_complete && measure_from(listed, mass, uint3(1), sum).x >= filter.top_p * mass_of_all;
  }
  if (is_complete) {
    return draw(listed, find_cut(listed, filter, mass, mass_of_all, sum), row.vocab_size, row.position, parameters,
                sum);
  }
  Logits all = {row.logits, row.vocab_size};
  return draw(all, find_cut(all, filter, mass, mass_of_all, sum), row.vocab_size, row.position, parameters, sum);
}

kernel void sample(constant SampleArgs& args [[buffer(0)]], device const float* logits [[buffer(1)]],
                   device const SamplingParameters* parameters [[buffer(2)]], device const int* positions [[buffer(3)]],
                   device const int* sequences [[buffer(4)]], device const float* scores [[buffer(5)]],
                   device const uint* ids [[buffer(6)]], device const float* masses [[buffer(7)]],
                   device const float* block_maxima [[buffer(8)]], device int* token [[buffer(9)]],
                   device int* next_position [[buffer(10)]], device int* history [[buffer(11)]],
                   uint row_index [[threadgroup_position_in_grid]], uint thread_index [[thread_index_in_threadgroup]]) {
  threadgroup float group_scores[SELECT_SIMDGROUPS];
  threadgroup uint group_ids[SELECT_SIMDGROUPS];
  threadgroup float scratch[SELECT_SCRATCH];
  threadgroup uint listed_keys[MAX_LISTED];
  threadgroup uint listed_ids[MAX_LISTED];
  uint sequence = min(uint(sequences[row_index]), args.num_sequences - 1);
  SamplingParameters parameter = settings_of(parameters[sequence]);
  int here = positions[row_index];
  wait_for_inputs();
  uint spans = (args.vocab_size + SAMPLE_SPAN - 1) / SAMPLE_SPAN;
  ulong first_span = ulong(row_index) * spans;

  Candidate mine = {LOWEST_SCORE, 0xFFFFFFFFu};
  for (uint span = thread_index; span < spans; span += SELECT_THREADS) {
    improve(mine, scores[first_span + span], ids[first_span + span]);
  }
  Candidate best = best_of_group(mine, group_scores, group_ids, thread_index, SELECT_SIMDGROUPS);
  if (is_filtered(parameter) && best.id < args.vocab_size && best.score < INFINITY) {
    Row row = {logits + ulong(row_index) * args.vocab_size,
               block_maxima + first_span * SAMPLE_BLOCKS,
               scores + first_span,
               masses + first_span,
               args.vocab_size,
               spans,
               uint(here)};
    GroupSum sum = {scratch, thread_index, 0};
    mine = draw_filtered(row, parameter, best.score, listed_keys, listed_ids, sum);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    best = best_of_group(mine, group_scores, group_ids, thread_index, SELECT_SIMDGROUPS);
  }
  if (thread_index == 0) {
    // All logits NaN leaves no candidate: an id outside the vocabulary tells the host.
    int id = best.id < args.vocab_size ? int(best.id) : -1;
    token[row_index] = id;
    history[ulong(sequence) * args.max_positions + min(uint(here), args.max_positions - 1)] = id;
    next_position[row_index] = here + 1;
  }
}
