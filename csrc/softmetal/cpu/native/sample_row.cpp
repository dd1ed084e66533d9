// Native sample: merges a row's candidates and, where top-k, top-p or min-p are set, draws from what they leave. The
// twin of the shader; it lists without a limit, so it needs no second way.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/sample.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t stride = 128;
constexpr std::uint32_t block_width = stride / SAMPLE_BLOCKS;
constexpr std::uint32_t most_guessed = 1024;  // how many logits top-p is first tried on

// Keys order as the logits do; see shaders/include/sample_select.h.
std::uint32_t key_of(float logit) {
  if (!(logit > LOWEST_SCORE)) return 0;
  std::uint32_t bits;
  std::memcpy(&bits, &logit, sizeof bits);
  if (bits >> 31 == 0) return bits | 0x80000000u;
  return bits == 0x80000000u ? bits : ~bits;
}

// What was listed of a row, by rising id: sums are taken in that order.
struct List {
  std::uint32_t* keys;
  std::uint32_t* ids;
  float* logits;
  float* masses;  // exp((logit - largest) / temperature)
  std::uint32_t size;
};

struct Cut {
  std::uint32_t key = 0;
  std::uint32_t ties = 0;  // of the logits equal to `key`; those above it are all kept
};

std::uint32_t count_from(const std::uint32_t* keys, std::uint32_t size, std::uint32_t pivot) {
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < size; i++) count += keys[i] >= pivot;
  return count;
}

double mass_from(const List& list, std::uint32_t pivot) {
  double mass = 0.0;
  for (std::uint32_t i = 0; i < list.size; i++) mass += list.keys[i] >= pivot ? list.masses[i] : 0.0f;
  return mass;
}

// The largest key in [low, high] for which `reaches(key)` holds; `low` is taken to.
template <typename Reaches>
std::uint32_t find_key(std::uint32_t low, std::uint32_t high, const Reaches& reaches) {
  while (low < high) {
    const std::uint32_t middle = high - (high - low) / 2;
    if (reaches(middle)) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

std::uint32_t kth_largest(const std::uint32_t* keys, std::uint32_t size, std::uint32_t k, std::uint32_t low,
                          std::uint32_t high) {
  return find_key(low, high, [&](std::uint32_t pivot) { return count_from(keys, size, pivot) >= k; });
}

std::uint32_t lowest_key(const SamplingParameters& parameters, float largest) {
  return key_of(largest + parameters.temperature * __builtin_logf(parameters.min_p));
}

// Lists the logits from the key `bound` on.
List list_from(std::uint32_t bound, const float* row, std::uint32_t vocab_size, const std::uint32_t* block_keys,
               std::uint32_t spans, unsigned char* memory) {
  List list{};
  list.keys = reinterpret_cast<std::uint32_t*>(memory);
  list.ids = list.keys + vocab_size;
  list.logits = reinterpret_cast<float*>(list.ids + vocab_size);
  list.masses = list.logits + vocab_size;
  for (std::uint32_t span = 0; span < spans; span++) {
    const std::uint32_t end = smaller((span + 1) * SAMPLE_SPAN, vocab_size);
    for (std::uint32_t run = span * SAMPLE_SPAN; run < end; run += stride) {
      for (std::uint32_t block = 0; block < SAMPLE_BLOCKS; block++) {
        if (block_keys[span * SAMPLE_BLOCKS + block] < bound) continue;
        const std::uint32_t first = run + block * block_width;
        for (std::uint32_t id = first; id < smaller(first + block_width, end); id++) {
          const std::uint32_t key = key_of(row[id]);
          if (key < bound) continue;
          list.keys[list.size] = key;
          list.ids[list.size] = id;
          list.logits[list.size++] = row[id];
        }
      }
    }
  }
  return list;
}

void weigh(const List& list, float largest, float temperature) {
  for (std::uint32_t i = 0; i < list.size; i += width) {
    Vector x = broadcast(largest);
    const std::uint32_t count = smaller(list.size - i, width);
    std::memcpy(&x, list.logits + i, count * sizeof(float));
    const Vector mass = exponential((x - largest) / temperature);
    std::memcpy(list.masses + i, &mass, count * sizeof(float));
  }
}

// top-k, then top-p of what is left of the mass, then min-p.
Cut find_cut(const List& list, const SamplingParameters& parameters, float largest, double mass_of_all) {
  Cut cut;
  const std::uint32_t top = key_of(largest);
  if (parameters.top_k > 0) {
    cut.key = kth_largest(list.keys, list.size, parameters.top_k, 0, top);
    if (cut.key > 0) cut.ties = parameters.top_k - count_from(list.keys, list.size, cut.key + 1);
  }
  const auto mass_at = [&](std::uint32_t key) {
    for (std::uint32_t i = 0; i < list.size; i++) {
      if (list.keys[i] == key) return static_cast<double>(list.masses[i]);
    }
    return 0.0;
  };
  if (parameters.top_p < 1.0f) {
    if (parameters.top_k > 0) mass_of_all = mass_from(list, cut.key + 1) + cut.ties * mass_at(cut.key);
    const double target = parameters.top_p * mass_of_all;
    const std::uint32_t key =
        find_key(cut.key, top, [&](std::uint32_t pivot) { return mass_from(list, pivot) >= target; });
    if (key > 0) {
      // Each tie is kept while the mass before it is below the target.
      const double missing = (target - mass_from(list, key + 1)) / mass_at(key);
      const std::uint32_t most = key == cut.key ? cut.ties : list.size;
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

std::uint32_t find_bound(const SamplingParameters& parameters, const std::uint32_t* block_keys, std::uint32_t blocks,
                         float largest) {
  if (parameters.top_k == 0 && parameters.top_p >= 1.0f) return lowest_key(parameters, largest);
  const std::uint32_t wanted = parameters.top_k > 0 ? parameters.top_k : smaller(most_guessed, (blocks + 1) / 2);
  return wanted > blocks ? 1 : kth_largest(block_keys, blocks, wanted, 1, key_of(largest));
}

Candidate draw_filtered(const Launch& launch, const SampleArgs& args, std::uint64_t row_index, std::uint32_t spans,
                        float largest) {
  const SamplingParameters& parameters = parameters_of(launch, args, row_index);
  const float* row = static_cast<const float*>(launch.buffers[1]) + row_index * args.vocab_size;
  const auto position = static_cast<std::uint32_t>(static_cast<const std::int32_t*>(launch.buffers[3])[row_index]);
  const float* span_maxima = static_cast<const float*>(launch.buffers[5]) + row_index * spans;
  const float* span_masses = static_cast<const float*>(launch.buffers[7]) + row_index * spans;
  const float* maxima = static_cast<const float*>(launch.buffers[8]) + row_index * spans * SAMPLE_BLOCKS;
  const std::uint32_t blocks = spans * SAMPLE_BLOCKS;
  unsigned char* memory = scratch((std::size_t{args.vocab_size} * 4 + blocks) * sizeof(float));
  auto* block_keys = reinterpret_cast<std::uint32_t*>(memory);
  for (std::uint32_t i = 0; i < blocks; i++) block_keys[i] = key_of(maxima[i]);
  memory += blocks * sizeof(float);

  List list =
      list_from(find_bound(parameters, block_keys, blocks, largest), row, args.vocab_size, block_keys, spans, memory);
  double mass_of_all = 0.0;
  if (parameters.top_p < 1.0f) {
    weigh(list, largest, parameters.temperature);
    for (std::uint32_t span = 0; span < spans && parameters.top_k == 0; span++) {
      if (span_maxima[span] > LOWEST_SCORE) {
        mass_of_all += span_masses[span] * __builtin_expf((span_maxima[span] - largest) / parameters.temperature);
      }
    }
    if (parameters.top_k == 0 && mass_from(list, 1) < parameters.top_p * mass_of_all) {
      list = list_from(1, row, args.vocab_size, block_keys, spans, memory);
      weigh(list, largest, parameters.temperature);
    }
  }
  const Cut cut = find_cut(list, parameters, largest, mass_of_all);
  Candidate best;
  std::uint32_t ties = 0;
  for (std::uint32_t i = 0; i < list.size; i++) {
    const bool kept = list.keys[i] > cut.key || (list.keys[i] == cut.key && ties++ < cut.ties);
    if (kept) consider(best, list.logits[i], list.ids[i], parameters, position);
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
    Candidate best;
    for (std::uint32_t span = 0; span < spans; span++) {
      if (scores[span] > best.score) best = {scores[span], ids[span]};
    }
    const bool is_finite = best.score < __builtin_inff();
    if (is_filtered(parameters_of(launch, args, row)) && best.id < args.vocab_size && is_finite) {
      best = draw_filtered(launch, args, row, spans, best.score);
    }
    const std::int32_t id = best.id < args.vocab_size ? static_cast<std::int32_t>(best.id) : -1;
    const std::int32_t here = static_cast<const std::int32_t*>(launch.buffers[3])[row];
    const std::uint32_t place = smaller(static_cast<std::uint32_t>(here), args.max_positions - 1);
    const std::uint64_t first = std::uint64_t{sequence_of(launch, args, row)} * args.max_positions;
    static_cast<std::int32_t*>(launch.buffers[9])[row] = id;
    static_cast<std::int32_t*>(launch.buffers[11])[first + place] = id;
    static_cast<std::int32_t*>(launch.buffers[10])[row] = here + 1;
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
