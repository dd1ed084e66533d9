// Native sample_partial: the best logit of a span, with Gumbel noise where a temperature is set; the twin of the
// shader.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"
#include "include/sample_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// The largest noise that 32 random bits can give; see `exponential` in shaders/include/philox.h.
constexpr float largest_noise = 22.9f;

std::uint32_t philox_first_word(std::uint32_t key0, std::uint32_t key1, std::uint32_t id, std::uint32_t position) {
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

float exponential_variate(std::uint32_t bits) {
  const float u = (static_cast<float>(bits) + 0.5f) * 2.3283064365386963e-10f;
  if (u < 0.015625f) return u * (1.0f + u * (0.5f + u * (0.33333333f + u * 0.25f)));
  const float rest = 1.0f - u;
  return -__builtin_logf(rest > 2.9802322e-8f ? rest : 2.9802322e-8f);
}

struct Best {
  float score = LOWEST_SCORE;
  std::uint32_t id = 0xFFFFFFFFu;
};

Best best_logit(const float* logits, std::uint32_t begin, std::uint32_t end) {
  Best best;
  std::uint32_t id = begin;
  if (end - begin >= width) {
    Vector largest = broadcast(LOWEST_SCORE);
    for (; id + width <= end; id += width) {
      const Vector x = load(logits + id);
      largest = select(x > largest, x, largest);
    }
    for (int lane = 0; lane < width; lane++) best.score = largest[lane] > best.score ? largest[lane] : best.score;
    for (; id < end; id++) best.score = logits[id] > best.score ? logits[id] : best.score;
    for (id = begin; id < end && logits[id] != best.score; id++) {
    }
    if (id < end) best.id = id;
    return best;
  }
  for (; id < end; id++) {
    if (logits[id] > best.score) best = {logits[id], id};
  }
  return best;
}

Best draw(const float* logits, std::uint32_t begin, std::uint32_t end, const SampleParameters& parameters,
          std::uint32_t position) {
  Best best;
  for (std::uint32_t id = begin; id < end; id++) {
    const float scaled = logits[id] / parameters.temperature;
    // Written so that a NaN is left out.
    if (!(scaled + largest_noise > best.score)) continue;
    const std::uint32_t bits = philox_first_word(parameters.seed_low, parameters.seed_high, id, position);
    const float score = scaled - __builtin_logf(exponential_variate(bits));
    if (score > best.score) best = {score, id};
  }
  return best;
}

void sample_partial(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const SampleArgs*>(launch.buffers[0]);
  const auto* logits = static_cast<const float*>(launch.buffers[1]);
  const auto& parameters = *static_cast<const SampleParameters*>(launch.buffers[2]);
  const auto position = static_cast<std::uint32_t>(*static_cast<const std::int32_t*>(launch.buffers[3]));
  for (std::uint64_t group = begin; group < end; group++) {
    const auto first = static_cast<std::uint32_t>(group * SAMPLE_SPAN);
    const std::uint32_t last = smaller(first + SAMPLE_SPAN, args.vocab_size);
    const Best best = parameters.temperature > 0.0f ? draw(logits, first, last, parameters, position)
                                                    : best_logit(logits, first, last);
    static_cast<float*>(launch.buffers[4])[group] = best.score;
    static_cast<std::uint32_t*>(launch.buffers[5])[group] = best.id;
  }
}

}  // namespace

extern const NativeKernel sample_kernels[] = {{"sample_partial", &sample_partial}};
extern const NativeTable sample_table = {sample_kernels, 1};

}  // namespace softmetal::cpu::native::FASTGO_ISA
