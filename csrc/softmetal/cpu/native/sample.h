// What the two native sampling kernels share: candidates, the noise, and where a row's parameters lie.
#pragma once

#include <cstdint>

#include "cpu/kernel_abi.h"
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

inline std::uint32_t philox_first_word(std::uint32_t key0, std::uint32_t key1, std::uint32_t id,
                                       std::uint32_t position) {
  std::uint32_t c[4] = {id, position, 0, 0};
  for (int round = 0; round < 10; round++) {
    const std::uint64_t product0 = 0xD2511F53ull * c[0], product1 = 0xCD9E8D57ull * c[2];
    c[0] = static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key0;
    c[1] = static_cast<std::uint32_t>(product1);
    c[2] = static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key1;
    c[3] = static_cast<std::uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c[0];
}

inline float exponential_variate(std::uint32_t bits) {
  const float u = (static_cast<float>(bits) + 0.5f) * 2.3283064365386963e-10f;
  if (u < 0.015625f) return u * (1.0f + u * (0.5f + u * (0.33333333f + u * 0.25f)));
  const float rest = 1.0f - u;
  return -__builtin_logf(rest > 2.9802322e-8f ? rest : 2.9802322e-8f);
}

// The largest noise that 32 random bits can give; see `exponential` in shaders/include/philox.h.
constexpr float largest_noise = 22.9f;

// Lets a logit compete with its noise, which is only made where it could win. The lower id must come first.
inline void consider(Candidate& best, float logit, std::uint32_t id, const SamplingParameters& parameters,
                     std::uint32_t position) {
  const float scaled = logit / parameters.temperature;
  // Written so that a NaN is left out.
  if (!(scaled + largest_noise > best.score)) return;
  const std::uint32_t bits = philox_first_word(parameters.seed_low, parameters.seed_high, id, position);
  const float score = scaled - __builtin_logf(exponential_variate(bits));
  if (score > best.score) best = {score, id};
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
