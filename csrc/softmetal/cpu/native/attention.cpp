// Native attention: for one row, all query heads that share a KV head walk the cache together, so that each key and
// value is read once for the group.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"
#include "include/attention_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr int group_heads = 4;    // at most so many query heads are handled together
constexpr int value_vectors = 4;  // of a value row handled together

// Adds what the elements of a head beyond whole vectors contribute.
template <typename T, int heads>
void add_tails(const float* queries, const T* keys, std::uint32_t count, std::uint32_t head_dim, float scale,
               float* scores, std::size_t stride) {
  for (std::uint32_t p = 0; p < count; p++) {
    for (std::uint32_t t = head_dim / width * width; t < head_dim; t++) {
      const float k = scalar_as_float(keys[static_cast<std::size_t>(p) * head_dim + t]) * scale;
      for (int h = 0; h < heads; h++) scores[h * stride + p] += k * queries[h * head_dim + t];
    }
  }
}

// Scores of `heads` queries against the keys [0, count): scores[h * stride + p]. Rows of scores hold whole vectors.
template <typename T, int heads>
void score_keys(const float* queries, const T* keys, std::uint32_t count, std::uint32_t head_dim, float scale,
                float* scores, std::size_t stride) {
  for (std::uint32_t first = 0; first < count; first += width) {
    const std::uint32_t present = smaller(width, count - first);
    Vector sums[heads][width];
    for (std::uint32_t p = 0; p < width; p++) {
      // A last vector that is not full repeats its last key.
      const T* key = keys + static_cast<std::size_t>(first + smaller(p, present - 1)) * head_dim;
      Vector dot[heads] = {};
      for (std::uint32_t d = 0; d + width <= head_dim; d += width) {
        const Vector k = load_as_float(key + d);
        for (int h = 0; h < heads; h++) dot[h] += k * load(queries + h * head_dim + d);
      }
      for (int h = 0; h < heads; h++) sums[h][p] = dot[h];
    }
    for (int h = 0; h < heads; h++) store(scores + h * stride + first, horizontal_sums(sums[h]) * scale);
  }
  if (head_dim % width != 0) add_tails<T, heads>(queries, keys, count, head_dim, scale, scores, stride);
}

// Turns scores into weights that sum to one.
void softmax(float* scores, std::uint32_t count) {
  float largest = scores[0];
  for (std::uint32_t p = 1; p < count; p++) largest = scores[p] > largest ? scores[p] : largest;
  float total = 0.0f;
  Vector totals = {};
  std::uint32_t p = 0;
  for (; p + width <= count; p += width) {
    const Vector weight = exponential(load(scores + p) - largest);
    store(scores + p, weight);
    totals += weight;
  }
  for (; p < count; p++) {
    scores[p] = exponential(broadcast(scores[p] - largest))[0];
    total += scores[p];
  }
  const float inverse = 1.0f / (total + horizontal_sum(totals));
  for (p = 0; p < count; p++) scores[p] *= inverse;
}

template <typename T, int heads>
void sum_values(const float* weights, std::size_t stride, const T* values, std::uint32_t count, std::uint32_t head_dim,
                float* out) {
  std::uint32_t d = 0;
  for (; d + value_vectors * width <= head_dim; d += value_vectors * width) {
    Vector sums[heads][value_vectors] = {};
    for (std::uint32_t p = 0; p < count; p++) {
      const T* value = values + static_cast<std::size_t>(p) * head_dim + d;
      for (int v = 0; v < value_vectors; v++) {
        const Vector x = load_as_float(value + v * width);
        for (int h = 0; h < heads; h++) sums[h][v] += x * weights[h * stride + p];
      }
    }
    for (int h = 0; h < heads; h++) {
      for (int v = 0; v < value_vectors; v++) store(out + h * head_dim + d + v * width, sums[h][v]);
    }
  }
  for (; d < head_dim; d++) {
    for (int h = 0; h < heads; h++) {
      float sum = 0.0f;
      for (std::uint32_t p = 0; p < count; p++) {
        sum += weights[h * stride + p] * scalar_as_float(values[static_cast<std::size_t>(p) * head_dim + d]);
      }
      out[h * head_dim + d] = sum;
    }
  }
}

template <typename T, int heads>
void attend(const AttentionArgs& args, const float* queries, const T* keys, const T* values, std::uint32_t count,
            float* out) {
  const std::size_t stride = (static_cast<std::size_t>(count) + 15) / 16 * 16;
  auto* scores = reinterpret_cast<float*>(scratch(stride * heads * sizeof(float)));
  score_keys<T, heads>(queries, keys, count, args.head_dim, args.scale, scores, stride);
  for (int h = 0; h < heads; h++) softmax(scores + h * stride, count);
  sum_values<T, heads>(scores, stride, values, count, args.head_dim, out);
}

template <typename T>
void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const AttentionArgs*>(launch.buffers[0]);
  const auto* q = static_cast<const float*>(launch.buffers[1]);
  const auto* k_cache = static_cast<const T*>(launch.buffers[2]);
  const auto* v_cache = static_cast<const T*>(launch.buffers[3]);
  const auto* positions = static_cast<const std::int32_t*>(launch.buffers[4]);
  const auto* sequences = static_cast<const std::int32_t*>(launch.buffers[5]);
  auto* y = static_cast<float*>(launch.buffers[6]);
  const std::uint32_t group = args.heads / args.kv_heads;
  while (begin < end) {
    const std::uint64_t row = begin / args.heads;
    const auto head = static_cast<std::uint32_t>(begin % args.heads);
    const std::uint32_t kv_head = head / group;
    const std::uint64_t same_group = (kv_head + 1) * group - head;
    const std::uint64_t left = same_group < end - begin ? same_group : end - begin;
    const std::uint32_t last = smaller(static_cast<std::uint32_t>(positions[row]) + 1, args.capacity);
    const std::uint32_t first = args.window != 0 && last > args.window ? last - args.window : 0;
    const std::uint32_t sequence = smaller(static_cast<std::uint32_t>(sequences[row]), args.num_sequences - 1);
    const std::size_t cache_head = static_cast<std::size_t>(sequence) * args.kv_heads + kv_head;
    const std::size_t cache_start = (cache_head * args.capacity + first) * args.head_dim;
    const float* queries = q + (row * args.heads + head) * args.head_dim;
    float* out = y + (row * args.heads + head) * args.head_dim;
    constexpr decltype(&attend<T, 1>) by_heads[group_heads] = {&attend<T, 1>, &attend<T, 2>, &attend<T, 3>,
                                                               &attend<T, 4>};
    const std::uint64_t together = left < group_heads ? left : group_heads;
    by_heads[together - 1](args, queries, k_cache + cache_start, v_cache + cache_start, last - first, out);
    begin += together;
  }
}

}  // namespace

#define FASTGO_ATTENTION_KERNELS(name, T)                                                 \
  {"attention_" #name "_d32", &attention<T>}, {"attention_" #name "_d64", &attention<T>}, \
      {"attention_" #name "_d128", &attention<T>}, {"attention_" #name "_d256", &attention<T>},

extern const NativeKernel attention_kernels[] = {FASTGO_ATTENTION_KERNELS(f32, float)
                                                     FASTGO_ATTENTION_KERNELS(f16, std::uint16_t)};
extern const NativeTable attention_table = {attention_kernels,
                                            sizeof(attention_kernels) / sizeof(attention_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
