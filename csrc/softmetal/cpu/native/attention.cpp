// Native attention: for one row, all query heads that share a KV head walk the cache together, so that each key and
// value is read once for the group.
#include "cpu/native/attention_cache.h"
#include "cpu/native/native.h"
#include "cpu/native/row_output.h"
#include "include/attention_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// Query heads of one row that share a KV head, and what they see of the cache.
template <typename T>
struct Group {
  std::size_t query;  // (row, head) of the first one
  std::uint32_t heads, count;
  CacheRows<T> keys, values;
};

template <typename T>
class Cache {
 public:
  explicit Cache(const Launch& launch)
      : args_(*static_cast<const AttentionArgs*>(launch.buffers[0])),
        buffers_(launch.buffers),
        all_rows_(static_cast<std::size_t>(args_.num_sequences) * args_.kv_heads * args_.capacity) {}

  // The heads from `query` on, before `end`.
  Group<T> group(std::uint64_t query, std::uint64_t end) const {
    const std::uint64_t row = query / args_.heads;
    const auto head = static_cast<std::uint32_t>(query % args_.heads);
    const std::uint32_t group = args_.heads / args_.kv_heads, kv_head = head / group;
    const std::uint32_t position = at(4, row), sequence = smaller(at(5, row), args_.num_sequences - 1);
    const std::uint32_t last = smaller(position + 1, args_.capacity);
    const std::uint32_t first = first_visible(args_.window, last);
    const std::size_t first_row = (static_cast<std::size_t>(sequence) * args_.kv_heads + kv_head) * args_.capacity;
    const std::uint64_t left = end - query;
    const std::uint32_t heads = smaller((kv_head + 1) * group - head, group_heads);
    return {query, left < heads ? static_cast<std::uint32_t>(left) : heads, last - first,
            cache_rows<T>(buffers_[2], all_rows_, first_row + first, args_.head_dim),
            cache_rows<T>(buffers_[3], all_rows_, first_row + first, args_.head_dim)};
  }

 private:
  std::uint32_t at(int buffer, std::uint64_t row) const {
    return static_cast<std::uint32_t>(static_cast<const std::int32_t*>(buffers_[buffer])[row]);
  }

  const AttentionArgs& args_;
  void* const* buffers_;
  const std::size_t all_rows_;
};

// `next`: the keys that are read after this group's values.
template <typename T, int heads>
void attend(const AttentionArgs& args, const float* queries, const Group<T>& group, CacheRows<T> next,
            std::size_t stride, float* scores, float* out) {
  float* unpacked = scores + stride * group_heads;
  score_cache<T, heads>(queries, group.keys, group.count, args.head_dim, args.scale, scores, stride, unpacked,
                        group.values);
  for (int h = 0; h < heads; h++) {
    if constexpr (has_row_scales<T>) multiply_by_scales(scores + h * stride, group.keys.scales, group.count);
    softmax(scores + h * stride, group.count);
    if constexpr (has_row_scales<T>) multiply_by_scales(scores + h * stride, group.values.scales, group.count);
  }
  sum_cache<T, heads>(scores, stride, group.values, group.count, args.head_dim, out, unpacked, next);
}

template <typename T>
void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const AttentionArgs*>(launch.buffers[0]);
  const bool is_bfloat = is_true(launch, 0);  // writes_bfloat, the shader's only function constant
  const Cache<T> cache(launch);
  Group<T> group = cache.group(begin, end);
  while (begin < end) {
    begin += group.heads;
    const Group<T> next = begin < end ? cache.group(begin, end) : group;
    const std::size_t at = group.query * args.head_dim;
    const float* queries = static_cast<const float*>(launch.buffers[1]) + at;
    const std::size_t stride = (static_cast<std::size_t>(group.count) + 15) / 16 * 16;
    const std::size_t floats = stride * group_heads + unpacked_floats<T>(args.head_dim);
    const std::size_t results = is_bfloat ? std::size_t{group_heads} * args.head_dim : 0;
    auto* scores = reinterpret_cast<float*>(scratch((floats + results) * sizeof(float)));
    float* out = is_bfloat ? scores + floats : static_cast<float*>(launch.buffers[6]) + at;
    constexpr decltype(&attend<T, 1>) by_heads[group_heads] = {&attend<T, 1>, &attend<T, 2>, &attend<T, 3>,
                                                               &attend<T, 4>};
    by_heads[group.heads - 1](args, queries, group, next.keys, stride, scores, out);
    const RowOutput<Bfloat> rounded(launch.buffers[6], at);
    for (std::uint32_t i = 0; is_bfloat && i < group.heads * args.head_dim; i++) rounded.write(i, out[i]);
    group = next;
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
