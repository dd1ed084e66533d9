// What the native sampling kernels share: candidates, the noise, and where a row's parameters lie.
#pragma once

#include <cstdint>

#include "cpu/kernel_abi.h"
#include "cpu/native/philox.h"
#include "include/sample_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

struct Candidate {
  float score = LOWEST_SCORE;
  std::uint32_t id = 0xFFFFFFFFu;
};

inline bool is_filtered(const SamplingParameters& parameters) {
  return parameters.temperature > 0.0f && (parameters.top_k > 0 || parameters.top_p < 1.0f || parameters.min_p > 0.0f);
}

inline std::uint32_t sequence_of(const Launch& launch, const SampleArgs& args, std::uint64_t row) {
  const auto sequence = static_cast<std::uint32_t>(static_cast<const std::int32_t*>(launch.buffers[4])[row]);
  return sequence < args.num_sequences ? sequence : args.num_sequences - 1;
}

inline const SamplingParameters& parameters_of(const Launch& launch, const SampleArgs& args, std::uint64_t row) {
  return static_cast<const SamplingParameters*>(launch.buffers[2])[sequence_of(launch, args, row)];
}

inline std::uint32_t position_of(const Launch& launch, std::uint64_t row) {
  return static_cast<std::uint32_t>(static_cast<const std::int32_t*>(launch.buffers[3])[row]);
}

inline float exponential_variate(std::uint32_t bits) {
  const float u = (static_cast<float>(bits) + 0.5f) * 2.3283064365386963e-10f;
  if (u < 0.015625f) return u * (1.0f + u * (0.5f + u * (0.33333333f + u * 0.25f)));
  const float rest = 1.0f - u;
  return -__builtin_logf(rest > 2.9802322e-8f ? rest : 2.9802322e-8f);
}

// The largest noise that 32 random bits can give; see `exponential` in shaders/include/philox.h.
constexpr float largest_noise = 22.9f;

// Lets a logit with the random `bits` of its token compete; of equal scores the lower id wins.
inline void compete(Candidate& best, float logit, std::uint32_t id, std::uint32_t bits, float temperature) {
  const float score = logit / temperature - __builtin_logf(exponential_variate(bits));
  if (score > best.score || (score == best.score && id < best.id)) best = {score, id};
}

// The same for a token on its own: its bits are only made where it could win.
inline void consider(Candidate& best, float logit, std::uint32_t id, const SamplingParameters& parameters,
                     std::uint32_t position) {
  // Written so that a NaN is left out.
  if (!(logit / parameters.temperature + largest_noise > best.score)) return;
  std::uint32_t words[4];
  philox(parameters.seed_low, parameters.seed_high, id / NOISE_RUN * (NOISE_RUN / 4) + id % (NOISE_RUN / 4), position,
         words);
  compete(best, logit, id, words[id / (NOISE_RUN / 4) % 4], parameters.temperature);
}

// Which logits of a row compete: those above `value`, and those equal to it up to the id `last_tied`.
struct Threshold {
  float value = LOWEST_SCORE;
  std::int64_t last_tied = -1;
};

Candidate draw(const float* logits, std::uint32_t begin, std::uint32_t end, const SamplingParameters& parameters,
               std::uint32_t position, Threshold threshold);

// The terms exp((logit - largest) / temperature) of `count` logits; 0 for what may never be drawn. Returns their sum.
double weigh(const float* logits, std::uint32_t count, float largest, float temperature, float* masses);

}  // namespace softmetal::cpu::native::FASTGO_ISA
