// Prefill's attention on AVX-512 BF16; see attention_many.h. A tile keeps the scores of all that its rows see.
#include "cpu/native/attention_many.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// Turns scores [begin, end) of a row of `count` (whole vectors of 32) into bfloat16 weights in place, zero elsewhere.
// Returns the reciprocal of their sum.
float softmax(float* scores, std::uint32_t begin, std::uint32_t end, std::uint32_t count) {
  __m512 largest = _mm512_set1_ps(-3.0e38f);
  for (std::uint32_t p = 0; p < count; p += 16) {
    largest = _mm512_mask_max_ps(largest, lanes_within(p, begin, end), largest, _mm512_load_ps(scores + p));
  }
  const float most = _mm512_reduce_max_ps(largest);
  __m512 total = _mm512_setzero_ps();
  auto* out = reinterpret_cast<unsigned char*>(scores);
  for (std::uint32_t p = 0; p < count; p += 16) {
    const Vector shifted = load(scores + p) - most;
    const __m512 weight =
        _mm512_maskz_mov_ps(lanes_within(p, begin, end), reinterpret_cast<__m512>(exponential(shifted)));
    const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(weight));
    total = _mm512_add_ps(total, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + p * 2), rounded);
  }
  return 1.0f / _mm512_reduce_add_ps(total);
}

void attend(const AttentionBuffers& b, const RowTile& tile, std::uint32_t kv_head, Vector& zeros) {
  const std::uint32_t group = b.args.heads / b.args.kv_heads, head_dim = b.args.head_dim, queries = tile.rows * group;
  const std::uint32_t count = tile.last - tile.first, padded = (count + 31) / 32 * 32;
  const std::size_t score_bytes = static_cast<std::size_t>(padded) * 4,
                    query_bytes = static_cast<std::size_t>(head_dim) * 2;
  const std::size_t panel_bytes = (padded > head_dim ? padded : head_dim) * std::size_t{panel_outputs} * 2;
  const std::size_t result_bytes = static_cast<std::size_t>(queries) * panel_outputs * 4;
  unsigned char* panel = scratch(panel_bytes + queries * (query_bytes + score_bytes + 64) + result_bytes);
  unsigned char* q = panel + panel_bytes;
  auto* scores = reinterpret_cast<float*>(q + queries * query_bytes);
  auto* results = scores + static_cast<std::size_t>(queries) * padded;
  float* inverses = results + static_cast<std::size_t>(queries) * panel_outputs;
  const auto sequence = smaller(static_cast<std::uint32_t>(b.sequences[tile.row]), b.args.num_sequences - 1);
  const std::size_t head = static_cast<std::size_t>(sequence) * b.args.kv_heads + kv_head;
  const std::size_t cache = (head * b.args.capacity + tile.first) * head_dim;
  load_queries(b, tile, kv_head, b.args.scale, q);
  for (std::uint32_t p = 0; p < count; p += panel_outputs) {
    load_keys(b.keys + cache + static_cast<std::size_t>(p) * head_dim, smaller(panel_outputs, count - p), head_dim,
              panel);
    multiply_rows(q, query_bytes, queries, head_dim / 2, panel, scores + p, padded);
  }
  for (std::uint32_t i = 0; i < queries; i++) {
    const auto end = static_cast<std::uint32_t>(b.positions[tile.row + i / group]) + 1;
    const std::uint32_t begin = first_visible(b.args.window, end);
    inverses[i] = softmax(scores + static_cast<std::size_t>(i) * padded, begin - tile.first, end - tile.first, padded);
  }
  const auto* weights = reinterpret_cast<const unsigned char*>(scores);
  for (std::uint32_t d = 0; d < head_dim; d += panel_outputs) {
    load_values(b.values + cache + d, count, count + count % 2, head_dim, panel);
    multiply_rows(weights, score_bytes, queries, (count + 1) / 2, panel, results, panel_outputs);
    for (std::uint32_t i = 0; i < queries; i++) {
      const std::size_t row = tile.row + i / group,
                        at = (row * b.args.heads + kv_head * group + i % group) * head_dim + d;
      b.write(at, results + static_cast<std::size_t>(i) * panel_outputs, panel_outputs, inverses[i], zeros);
    }
  }
}

void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  attention_many(launch, begin, end, [](const AttentionArgs&) { return 24u; }, &attend);
}

}  // namespace

extern const NativeKernel attention_bf16_kernels[] = {{"attention_f16_d32", &attention},
                                                      {"attention_f16_d64", &attention},
                                                      {"attention_f16_d128", &attention},
                                                      {"attention_f16_d256", &attention}};
extern const NativeTable attention_bf16_table = {attention_bf16_kernels,
                                                 sizeof(attention_bf16_kernels) / sizeof(attention_bf16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
