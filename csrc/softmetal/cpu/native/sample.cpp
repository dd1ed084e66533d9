// Native sample_partial: the best logit of a span, with Gumbel noise where a row is drawn from all its logits, and what
// `sample` needs to filter the others. The twin of the shader.
#include "cpu/native/sample.h"

#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t stride = 128;                          // threads of the shader's threadgroup
constexpr std::uint32_t block_width = stride / SAMPLE_BLOCKS;  // neighbours among them that share a block

Candidate best_logit(const float* logits, std::uint32_t begin, std::uint32_t end) {
  constexpr std::uint32_t chains = 4;  // maxima apart, so that none waits for the one before
  Candidate best;
  std::uint32_t id = begin;
  Vector largest[chains];
  for (Vector& part : largest) part = broadcast(LOWEST_SCORE);
  for (; id + chains * width <= end; id += chains * width) {
    for (std::uint32_t c = 0; c < chains; c++) {
      const Vector x = load(logits + id + c * width);
      largest[c] = select(x > largest[c], x, largest[c]);
    }
  }
  for (const Vector& part : largest) {
    for (int lane = 0; lane < width; lane++) best.score = part[lane] > best.score ? part[lane] : best.score;
  }
  for (; id < end; id++) best.score = logits[id] > best.score ? logits[id] : best.score;
  for (id = begin; id + width <= end && !any(load(logits + id) == best.score); id += width) {
  }
  for (; id < end && logits[id] != best.score; id++) {
  }
  if (id < end) best.id = id;
  return best;
}

// Maxima of a span's blocks: of each run of `stride` logits, four neighbours belong to a block.
void find_block_maxima(const float* logits, std::uint32_t begin, std::uint32_t end, float* maxima) {
  alignas(64) float largest[stride];
  for (float& x : largest) x = LOWEST_SCORE;
  std::uint32_t id = begin;
  for (; id + stride <= end; id += stride) {
    for (std::uint32_t i = 0; i < stride; i += width) {
      const Vector x = load(logits + id + i), before = load(largest + i);
      store(largest + i, select(x > before, x, before));
    }
  }
  for (std::uint32_t i = 0; id + i < end; i++) largest[i] = logits[id + i] > largest[i] ? logits[id + i] : largest[i];
  for (std::uint32_t block = 0; block < SAMPLE_BLOCKS; block++) {
    float best = LOWEST_SCORE;
    for (std::uint32_t i = 0; i < block_width; i++) {
      best = largest[block * block_width + i] > best ? largest[block * block_width + i] : best;
    }
    maxima[block] = best;
  }
}

void sample_partial(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const SampleArgs*>(launch.buffers[0]);
  const auto* logits = static_cast<const float*>(launch.buffers[1]);
  const std::uint32_t spans = launch.threadgroups_per_grid.x;
  for (std::uint64_t group = begin; group < end; group++) {
    const std::uint64_t row_index = group / spans;
    const auto span = static_cast<std::uint32_t>(group % spans);
    const SamplingParameters& parameters = parameters_of(launch, args, row_index);
    const std::uint32_t position = position_of(launch, row_index);
    const float* row = logits + row_index * args.vocab_size;
    const std::uint32_t first = span * SAMPLE_SPAN, last = smaller(first + SAMPLE_SPAN, args.vocab_size);
    const bool filtered = is_filtered(parameters);
    const Candidate best = parameters.temperature > 0.0f && !filtered ? draw(row, first, last, parameters, position, {})
                                                                      : best_logit(row, first, last);
    static_cast<float*>(launch.buffers[5])[group] = best.score;
    static_cast<std::uint32_t*>(launch.buffers[6])[group] = best.id;
    if (!filtered) continue;
    find_block_maxima(row, first, last, static_cast<float*>(launch.buffers[8]) + group * SAMPLE_BLOCKS);
    if (parameters.top_k == 0 && parameters.top_p < 1.0f) {
      static_cast<float*>(launch.buffers[7])[group] =
          static_cast<float>(weigh(row + first, last - first, best.score, parameters.temperature, nullptr));
    }
  }
}

}  // namespace

void sample(const Launch& launch, std::uint64_t begin, std::uint64_t end);

extern const NativeKernel sample_kernels[] = {{"sample_partial", &sample_partial}, {"sample", &sample}};
extern const NativeTable sample_table = {sample_kernels, 2};

}  // namespace softmetal::cpu::native::FASTGO_ISA
