// Native sample: merges a row's candidates and, where top-k, top-p or min-p are set, draws from what they leave. The
// twin of the shader: the cut is found among few listed logits if they are enough, else on the whole row.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/sample.h"
#include "cpu/native/sample_select.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t stride = 128;
constexpr std::uint32_t block_width = stride / SAMPLE_BLOCKS;
constexpr std::uint32_t most_guessed = 1024;  // how many logits top-p is first tried on
constexpr std::uint32_t most_listed = 16384;  // beyond, the whole row is quicker
constexpr float likely_depth = 30.0f;         // of logits / temperature: below it little weighs anything

struct Cut {
  std::uint32_t key = 0;
  std::uint32_t ties = 0;  // of the logits equal to `key`; those above it are all kept
};

// One row and what sample_partial found out about it.
struct Row {
  const float* logits;
  std::uint32_t vocab_size;
  std::uint32_t spans;
  const float* block_maxima;
  const float* span_maxima;
  const float* span_masses;
  float largest;
};

// What was listed of a row, by rising id.
struct List {
  std::uint32_t* ids;
  float* logits;
  std::uint32_t size;
};

// Lists the logits from `bound` on; stops where they are too many.
List list_from(const Row& row, float bound, std::uint32_t* ids, float* logits) {
  List list = {ids, logits, 0};
  for (std::uint32_t span = 0; span < row.spans; span++) {
    std::uint32_t blocks[SAMPLE_BLOCKS], count = 0;
    for (std::uint32_t block = 0; block < SAMPLE_BLOCKS; block++) {
      if (row.block_maxima[span * SAMPLE_BLOCKS + block] >= bound) blocks[count++] = block;
    }
    const std::uint32_t end = smaller((span + 1) * SAMPLE_SPAN, row.vocab_size);
    for (std::uint32_t run = span * SAMPLE_SPAN; count > 0 && run < end; run += stride) {
      for (std::uint32_t i = 0; i < count; i++) {
        const std::uint32_t first = run + blocks[i] * block_width;
        for (std::uint32_t id = first; id < smaller(first + block_width, end); id++) {
          if (!(row.logits[id] >= bound)) continue;
          if (list.size == most_listed) return {ids, logits, most_listed + 1};
          ids[list.size] = id;
          logits[list.size++] = row.logits[id];
        }
      }
    }
  }
  return list;
}

float likely(const SamplingParameters& parameters, float largest) {
  const float logit = largest - likely_depth * parameters.temperature;
  return logit > LOWEST_SCORE ? logit : LOWEST_SCORE;
}

std::uint32_t lowest_key(const SamplingParameters& parameters, float largest) {
  return key_of(largest + parameters.temperature * __builtin_logf(parameters.min_p));
}

double mass_at(std::uint32_t key, const SamplingParameters& parameters, float largest) {
  return exponential(broadcast((logit_of(key) - largest) / parameters.temperature))[0];
}

// top-k, then top-p of what is left of the mass, then min-p. `memory` as for find_key.
Cut find_cut(const Numbers& numbers, const SamplingParameters& parameters, float largest, double mass_of_all,
             float* memory) {
  Cut cut;
  const std::uint32_t top = key_of(largest);
  const float floor = likely(parameters, largest);
  if (parameters.top_k > 0) {
    const Numbers counted = {numbers.logits, nullptr, numbers.size};
    cut.key = find_key(counted, parameters.top_k, 0, top, floor, memory);
    if (cut.key > 0) cut.ties = parameters.top_k - measure_from(counted, logit_of(cut.key + 1)).count;
  }
  if (parameters.top_p < 1.0f) {
    if (parameters.top_k > 0) {
      const double above = measure_from(numbers, logit_of(cut.key + 1)).mass;
      mass_of_all = above + (cut.ties > 0 ? cut.ties * mass_at(cut.key, parameters, largest) : 0.0);
    }
    const double target = parameters.top_p * mass_of_all;
    const std::uint32_t key = find_key(numbers, target, cut.key, top, floor, memory);
    if (key > 0) {
      // Each tie is kept while the mass before it is below the target.
      const double above = measure_from(numbers, logit_of(key + 1)).mass;
      const double missing = (target - above) / mass_at(key, parameters, largest);
      const std::uint32_t most = key == cut.key ? cut.ties : numbers.size;
      const bool all = !(missing < most);
      const std::uint32_t whole = all ? most : static_cast<std::uint32_t>(missing > 0.0 ? missing : 0.0);
      cut.ties = all ? most : whole + (whole < missing || whole == 0);
      cut.key = key;
    }
  }
  if (parameters.min_p > 0.0f && lowest_key(parameters, largest) > cut.key) {
    cut = {lowest_key(parameters, largest) - 1, 0};
  }
  return cut;
}

// The last id that is kept among the logits equal to the cut's; -1 if none is.
std::int64_t last_tied(const float* logits, std::uint32_t size, Cut cut) {
  const float value = logit_of(cut.key);
  std::uint32_t ties = 0;
  for (std::uint32_t i = 0; i < size && cut.ties > 0; i++) {
    if (logits[i] == value && ++ties == cut.ties) return i;
  }
  return cut.ties > 0 ? size : -1;
}

float find_bound(const Row& row, const SamplingParameters& parameters, float* memory) {
  if (parameters.top_k == 0 && parameters.top_p >= 1.0f) return logit_of(lowest_key(parameters, row.largest));
  const std::uint32_t blocks = row.spans * SAMPLE_BLOCKS;
  const std::uint32_t wanted = parameters.top_k > 0 ? parameters.top_k : smaller(most_guessed, (blocks + 1) / 2);
  if (wanted > blocks) return logit_of(0);
  const Numbers maxima = {row.block_maxima, nullptr, blocks};
  return logit_of(find_key(maxima, wanted, 0, key_of(row.largest), likely(parameters, row.largest), memory));
}

Candidate draw_filtered(const Row& row, const SamplingParameters& parameters, std::uint32_t position) {
  // Room for the masses of a row, and for the search on it; a list, where it is kept, needs less.
  auto* memory = reinterpret_cast<float*>(scratch((std::size_t{row.vocab_size} + most_listed + SAMPLE_SPAN) * 12));
  auto* ids = reinterpret_cast<std::uint32_t*>(memory);
  float* list_logits = memory + most_listed;
  float* masses = memory + 2 * most_listed;
  float* search = masses + row.vocab_size + SAMPLE_SPAN;
  const float bound = find_bound(row, parameters, search);
  const List list =
      bound > logit_of(0) ? list_from(row, bound, ids, list_logits) : List{ids, list_logits, most_listed + 1};
  bool is_complete = list.size <= most_listed;
  double mass_of_all = 0.0;
  if (is_complete && parameters.top_p < 1.0f) {
    const double listed = weigh(list.logits, list.size, row.largest, parameters.temperature, masses);
    for (std::uint32_t span = 0; span < row.spans && parameters.top_k == 0; span++) {
      if (row.span_maxima[span] > LOWEST_SCORE) {
        mass_of_all +=
            row.span_masses[span] * __builtin_expf((row.span_maxima[span] - row.largest) / parameters.temperature);
      }
    }
    is_complete = parameters.top_k > 0 || listed >= parameters.top_p * mass_of_all;
  }
  const float* logits = is_complete ? list.logits : row.logits;
  const std::uint32_t size = is_complete ? list.size : row.vocab_size;
  if (!is_complete && parameters.top_p < 1.0f) {
    mass_of_all = weigh(logits, size, row.largest, parameters.temperature, masses);
  }
  const Numbers numbers = {logits, parameters.top_p < 1.0f ? masses : nullptr, size};
  const Cut cut = find_cut(numbers, parameters, row.largest, mass_of_all, search);
  const Threshold threshold = {logit_of(cut.key), last_tied(logits, size, cut)};
  if (!is_complete) return draw(logits, 0, size, parameters, position, threshold);
  Candidate best;
  for (std::uint32_t i = 0; i < size; i++) {
    const bool kept = logits[i] > threshold.value || (logits[i] == threshold.value && i <= threshold.last_tied);
    if (kept) consider(best, logits[i], list.ids[i], parameters, position);
  }
  return best;
}

}  // namespace

void sample(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const SampleArgs*>(launch.buffers[0]);
  const std::uint32_t spans = (args.vocab_size + SAMPLE_SPAN - 1) / SAMPLE_SPAN;
  for (std::uint64_t row = begin; row < end; row++) {
    const float* scores = static_cast<const float*>(launch.buffers[5]) + row * spans;
    const auto* ids = static_cast<const std::uint32_t*>(launch.buffers[6]) + row * spans;
    const SamplingParameters& parameters = parameters_of(launch, args, row);
    const std::uint32_t position = position_of(launch, row);
    Candidate best;
    for (std::uint32_t span = 0; span < spans; span++) {
      if (scores[span] > best.score) best = {scores[span], ids[span]};
    }
    const bool is_finite = best.score < __builtin_inff();
    if (is_filtered(parameters) && best.id < args.vocab_size && is_finite) {
      const Row numbers = {static_cast<const float*>(launch.buffers[1]) + row * args.vocab_size,
                           args.vocab_size,
                           spans,
                           static_cast<const float*>(launch.buffers[8]) + row * spans * SAMPLE_BLOCKS,
                           scores,
                           static_cast<const float*>(launch.buffers[7]) + row * spans,
                           best.score};
      best = draw_filtered(numbers, parameters, position);
    }
    const std::int32_t id = best.id < args.vocab_size ? static_cast<std::int32_t>(best.id) : -1;
    const std::uint64_t first = std::uint64_t{sequence_of(launch, args, row)} * args.max_positions;
    static_cast<std::int32_t*>(launch.buffers[9])[row] = id;
    static_cast<std::int32_t*>(launch.buffers[11])[first + smaller(position, args.max_positions - 1)] = id;
    static_cast<std::int32_t*>(launch.buffers[10])[row] = static_cast<std::int32_t>(position + 1);
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
