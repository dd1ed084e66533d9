// Native rope_attention: a threadgroup is one query head of a single row. The row's own key and value are taken from
// scratch memory: another thread may be writing them to the cache meanwhile.
#include "cpu/native/attention_cache.h"
#include "cpu/native/native.h"
#include "cpu/native/rotation.h"
#include "include/rope_attention_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// Scratch of one call: queries of up to group_heads heads, scores of each, the own key and value.
template <typename T>
struct Row {
  float* cosines;  // (head_dim / 2,), sines behind
  float* queries;  // (group_heads, head_dim)
  float* own_scores;
  float* rotated;  // (head_dim,), the own key
  CacheRows<T> key;
  CacheRows<T> value;
  float* scores;  // (group_heads, stride)
  std::size_t stride;
  float* unpacked;            // of a packed cache, unpacked_floats
  CacheRows<T> keys, values;  // the earlier ones, in the cache
};

template <typename T>
Row<T> make_row(std::uint32_t head_dim, std::uint32_t count) {
  Row<T> row;
  row.stride = (static_cast<std::size_t>(count) + 15) / 16 * 16;
  const std::size_t floats = head_dim * (1 + group_heads + 3) + group_heads * 16 + 16 + group_heads * row.stride +
                             unpacked_floats<T>(head_dim);
  row.cosines = reinterpret_cast<float*>(scratch(floats * sizeof(float)));
  row.queries = row.cosines + head_dim;
  row.own_scores = row.queries + group_heads * head_dim;
  row.rotated = row.own_scores + group_heads * 16;
  row.key = {reinterpret_cast<T*>(row.rotated + head_dim),
             reinterpret_cast<std::uint16_t*>(row.rotated + 3 * head_dim)};
  row.value = {row.key.elements + head_dim, row.key.scales + (is_packed<T> ? 16 : 1)};
  row.scores = row.rotated + 3 * head_dim + 16;
  row.unpacked = row.scores + group_heads * row.stride;
  return row;
}

// `heads` rotated queries against the keys [0, earlier) and the own key.
template <typename T, int heads>
void attend(const RopeAttentionArgs& args, const Row<T>& row, std::uint32_t earlier, float* out) {
  const auto &keys = row.keys, &values = row.values, &key = row.key, &value = row.value;
  const std::uint32_t head_dim = args.head_dim;
  score_cache<T, heads>(row.queries, keys, earlier, head_dim, args.scale, row.scores, row.stride, row.unpacked, values);
  score_cache<T, heads>(row.queries, key, 1, head_dim, args.scale, row.own_scores, 16, row.unpacked, key);
  for (int h = 0; h < heads; h++) {
    float* scores = row.scores + h * row.stride;
    scores[earlier] = row.own_scores[h * 16];
    if constexpr (has_row_scales<T>) {
      multiply_by_scales(scores, keys.scales, earlier);
      multiply_by_scales(scores + earlier, key.scales, 1);
    }
    softmax(scores, earlier + 1);
    if constexpr (has_row_scales<T>) {
      multiply_by_scales(scores, values.scales, earlier);
      multiply_by_scales(scores + earlier, value.scales, 1);
    }
  }
  sum_cache<T, heads>(row.scores, row.stride, values, earlier, head_dim, out, row.unpacked, key);
  float* own = row.unpacked;
  if constexpr (is_packed<T>) unpack_rows(value, 1, head_dim, own);
  const auto element = [&](std::uint32_t d) {
    if constexpr (is_packed<T>)
      return own[d];
    else
      return scalar_as_float(value.elements[d]);
  };
  for (int h = 0; h < heads; h++) {
    const float weight = row.scores[h * row.stride + earlier];
    for (std::uint32_t d = 0; d < head_dim; d++) out[h * head_dim + d] += weight * element(d);
  }
}

template <typename T>
void rope_attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RopeAttentionArgs*>(launch.buffers[0]);
  const auto buffer = [&](int index) { return static_cast<const float*>(launch.buffers[index]); };
  const bool has_head_norm = is_true(launch, 0);
  const std::uint32_t head_dim = args.head_dim, group = args.heads / args.kv_heads;
  const std::size_t all_rows = static_cast<std::size_t>(args.num_sequences) * args.kv_heads * args.capacity;
  const std::uint32_t position =
      smaller(static_cast<std::uint32_t>(*static_cast<const std::int32_t*>(launch.buffers[7])), args.capacity - 1);
  const std::uint32_t sequence =
      smaller(static_cast<std::uint32_t>(*static_cast<const std::int32_t*>(launch.buffers[8])), args.num_sequences - 1);
  const std::uint32_t first = first_visible(args.window, position + 1);
  Row<T> row = make_row<T>(head_dim, position - first + 1);
  float* sines = row.cosines + head_dim / 2;
  fill_rotation(static_cast<float>(position), buffer(6), head_dim / 2, row.cosines, sines);
  const Rotation rotation{head_dim / 2, false, row.cosines, sines};
  while (begin < end) {
    const auto head = static_cast<std::uint32_t>(begin);
    const std::uint32_t kv_head = head / group;
    const std::uint32_t left = smaller((kv_head + 1) * group - head, static_cast<std::uint32_t>(end - begin));
    const std::uint32_t together = smaller(left, group_heads);
    for (std::uint32_t h = 0; h < together; h++) {
      rotate_head(buffer(1) + (head + h) * head_dim, has_head_norm ? buffer(4) : nullptr, args.eps, head_dim, rotation,
                  row.queries + h * head_dim);
    }
    const float* value = buffer(3) + kv_head * head_dim;
    rotate_head(buffer(2) + kv_head * head_dim, has_head_norm ? buffer(5) : nullptr, args.eps, head_dim, rotation,
                row.rotated);
    store_row(row.rotated, head_dim, row.key);
    store_row(value, head_dim, row.value);
    const std::size_t cache_head = static_cast<std::size_t>(sequence) * args.kv_heads + kv_head;
    const std::size_t first_row = cache_head * args.capacity;
    row.keys = cache_rows<T>(launch.buffers[9], all_rows, first_row + first, head_dim);
    row.values = cache_rows<T>(launch.buffers[10], all_rows, first_row + first, head_dim);
    constexpr decltype(&attend<T, 1>) by_heads[group_heads] = {&attend<T, 1>, &attend<T, 2>, &attend<T, 3>,
                                                               &attend<T, 4>};
    by_heads[together - 1](args, row, position - first, static_cast<float*>(launch.buffers[11]) + head * head_dim);
    if (head % group == 0) {
      copy_row(row.key, head_dim, cache_rows<T>(launch.buffers[9], all_rows, first_row + position, head_dim));
      copy_row(row.value, head_dim, cache_rows<T>(launch.buffers[10], all_rows, first_row + position, head_dim));
    }
    begin += together;
  }
}

}  // namespace

#define FASTGO_ROPE_ATTENTION_KERNELS(name, T)                                                                 \
  {"rope_attention_" #name "_d64", &rope_attention<T>}, {"rope_attention_" #name "_d128", &rope_attention<T>}, \
      {"rope_attention_" #name "_d256", &rope_attention<T>},

extern const NativeKernel rope_attention_kernels[] = {
    FASTGO_ROPE_ATTENTION_KERNELS(f32, float) FASTGO_ROPE_ATTENTION_KERNELS(f16, std::uint16_t)
        FASTGO_ROPE_ATTENTION_KERNELS(bf16, Bfloat) FASTGO_ROPE_ATTENTION_KERNELS(int8, std::int8_t)
            FASTGO_ROPE_ATTENTION_KERNELS(int4, Nibbles)};
extern const NativeTable rope_attention_table = {rope_attention_kernels,
                                                 sizeof(rope_attention_kernels) / sizeof(rope_attention_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
