// The passes of native sampling that read many logits: the draw, and the terms of the softmax.
//
// A token wins if logit / temperature - log(e) is largest, with e its exponential variate. As e is at least the uniform
// number u that it is made from, a token can only beat `best` if u < exp(logit / temperature - best): that is tested
// for a vector of tokens at a time, and the few that pass are computed as the shader does it.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/sample.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t run_width = NOISE_RUN / 4;  // neighbours that take the same word of their counters

// Up to `width` logits; beyond the end one that is never drawn.
Vector load_within(const float* logits, std::uint32_t id, std::uint32_t end) {
  if (id + width <= end) return load(logits + id);
  Vector x = broadcast(LOWEST_SCORE);
  for (std::uint32_t i = 0; id + i < end; i++) x[i] = logits[id + i];
  return x;
}

// How far `best` is lowered for the test, so that no rounding hides a winner.
float slack(float best) { return 1e-3f + 2e-6f * __builtin_fabsf(best); }

}  // namespace

Candidate draw(const float* logits, std::uint32_t begin, std::uint32_t end, const SamplingParameters& parameters,
               std::uint32_t position, Threshold threshold) {
  Candidate best;
  WordVector counters;
  for (int i = 0; i < width; i++) counters[i] = static_cast<std::uint32_t>(i);
  for (std::uint32_t run = begin; run < end; run += NOISE_RUN) {
    for (std::uint32_t i = 0; i < run_width; i += width) {
      WordVector words[4];
      philox(parameters.seed_low, parameters.seed_high, counters + (run / 4 + i), position, words);
      for (std::uint32_t word = 0; word < 4; word++) {
        const std::uint32_t id = run + word * run_width + i;
        if (id >= end) break;
        const Vector x = load_within(logits, id, end);
        const Vector odds = exponential(x / parameters.temperature - (best.score - slack(best.score)));
        const Vector u = __builtin_convertvector(reinterpret_cast<IntVector>(words[word] >> 1), Vector);
        const IntVector passes = (u * 4.6566128730773926e-10f < odds) & (x >= threshold.value);
        if (!any(passes)) continue;
        for (std::uint32_t lane = 0; lane < width; lane++) {
          const bool kept = x[lane] > threshold.value || std::int64_t{id + lane} <= threshold.last_tied;
          if (passes[lane] && kept) compete(best, x[lane], id + lane, words[word][lane], parameters.temperature);
        }
      }
    }
  }
  return best;
}

double weigh(const float* logits, std::uint32_t count, float largest, float temperature, float* masses) {
  constexpr std::uint32_t run = 16 * width;  // summed in float32
  const Vector lowest = broadcast(LOWEST_SCORE);
  double sum = 0.0;
  for (std::uint32_t begin = 0; begin < count; begin += run) {
    Vector partial = {};
    for (std::uint32_t i = begin; i < smaller(begin + run, count); i += width) {
      const Vector x = load_within(logits, i, count);
      const Vector term = exponential((select(x > lowest, x, broadcast(largest)) - largest) / temperature);
      const Vector mass = select(x > lowest, term, Vector{});
      partial += mass;
      if (masses != nullptr) std::memcpy(masses + i, &mass, smaller(count - i, width) * sizeof(float));
    }
    sum += horizontal_sum(partial);
  }
  return sum;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
