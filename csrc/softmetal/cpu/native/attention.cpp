// Native attention: for one row, all query heads that share a KV head walk the cache together, so that each key and
// value is read once for the group.
#include "cpu/native/attention_cache.h"
#include "cpu/native/native.h"
#include "cpu/native/row_output.h"
#include "include/attention_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

template <typename T, int heads>
void attend(const AttentionArgs& args, const float* queries, CacheRows<T> keys, CacheRows<T> values,
            std::uint32_t count, std::size_t stride, float* scores, float* out) {
  float* unpacked = scores + stride * group_heads;
  score_cache<T, heads>(queries, keys, count, args.head_dim, args.scale, scores, stride, unpacked);
  for (int h = 0; h < heads; h++) {
    if constexpr (has_row_scales<T>) multiply_by_scales(scores + h * stride, keys.scales, count);
    softmax(scores + h * stride, count);
    if constexpr (has_row_scales<T>) multiply_by_scales(scores + h * stride, values.scales, count);
  }
  sum_cache<T, heads>(scores, stride, values, count, args.head_dim, out, unpacked);
}

template <typename T>
void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const AttentionArgs*>(launch.buffers[0]);
  const auto* q = static_cast<const float*>(launch.buffers[1]);
  const auto* positions = static_cast<const std::int32_t*>(launch.buffers[4]);
  const auto* sequences = static_cast<const std::int32_t*>(launch.buffers[5]);
  const bool is_bfloat = is_true(launch, 0);  // writes_bfloat, the shader's only function constant
  const std::uint32_t group = args.heads / args.kv_heads;
  const std::size_t all_rows = static_cast<std::size_t>(args.num_sequences) * args.kv_heads * args.capacity;
  while (begin < end) {
    const std::uint64_t row = begin / args.heads;
    const auto head = static_cast<std::uint32_t>(begin % args.heads);
    const std::uint32_t kv_head = head / group;
    const std::uint64_t same_group = (kv_head + 1) * group - head;
    const std::uint64_t left = same_group < end - begin ? same_group : end - begin;
    const std::uint32_t last = smaller(static_cast<std::uint32_t>(positions[row]) + 1, args.capacity);
    const std::uint32_t first = first_visible(args.window, last);
    const std::uint32_t sequence = smaller(static_cast<std::uint32_t>(sequences[row]), args.num_sequences - 1);
    const std::size_t cache_head = static_cast<std::size_t>(sequence) * args.kv_heads + kv_head;
    const std::size_t first_row = cache_head * args.capacity + first;
    const auto keys = cache_rows<T>(launch.buffers[2], all_rows, first_row, args.head_dim);
    const auto values = cache_rows<T>(launch.buffers[3], all_rows, first_row, args.head_dim);
    const float* queries = q + (row * args.heads + head) * args.head_dim;
    const std::size_t at = (row * args.heads + head) * args.head_dim;
    const std::uint32_t count = last - first;
    const std::size_t stride = (static_cast<std::size_t>(count) + 15) / 16 * 16;
    const std::size_t floats = stride * group_heads + unpacked_floats<T>(args.head_dim);
    const std::size_t results = is_bfloat ? std::size_t{group_heads} * args.head_dim : 0;
    auto* scores = reinterpret_cast<float*>(scratch((floats + results) * sizeof(float)));
    float* out = is_bfloat ? scores + floats : static_cast<float*>(launch.buffers[6]) + at;
    constexpr decltype(&attend<T, 1>) by_heads[group_heads] = {&attend<T, 1>, &attend<T, 2>, &attend<T, 3>,
                                                               &attend<T, 4>};
    const std::uint64_t together = left < group_heads ? left : group_heads;
    by_heads[together - 1](args, queries, keys, values, count, stride, scores, out);
    const RowOutput<Bfloat> rounded(launch.buffers[6], at);
    for (std::uint32_t i = 0; is_bfloat && i < together * args.head_dim; i++) rounded.write(i, out[i]);
    begin += together;
  }
}

}  // namespace

#define FASTGO_ATTENTION_KERNELS(name, T)                                                 \
  {"attention_" #name "_d32", &attention<T>}, {"attention_" #name "_d64", &attention<T>}, \
      {"attention_" #name "_d128", &attention<T>}, {"attention_" #name "_d256", &attention<T>},

extern const NativeKernel attention_kernels[] = {FASTGO_ATTENTION_KERNELS(f32, float) FASTGO_ATTENTION_KERNELS(
    f16, std::uint16_t) FASTGO_ATTENTION_KERNELS(bf16, Bfloat) FASTGO_ATTENTION_KERNELS(int8, std::int8_t)
                                                     FASTGO_ATTENTION_KERNELS(int4, Nibbles)};
extern const NativeTable attention_table = {attention_kernels,
                                            sizeof(attention_kernels) / sizeof(attention_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
