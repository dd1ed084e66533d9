// Native rope_cache: a threadgroup is one head of one row. Angles are the same for all heads of a row.
#include "cpu/native/cache_row.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/rotation.h"
#include "cpu/native/vector.h"
#include "include/rope_cache_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

template <typename T>
void rope_cache(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RopeCacheArgs*>(launch.buffers[0]);
  const auto buffer = [&](int index) { return static_cast<const float*>(launch.buffers[index]); };
  const bool has_head_norm = is_true(launch, 0), is_interleaved = is_true(launch, 1);
  const auto* positions = static_cast<const std::int32_t*>(launch.buffers[7]);
  const auto* sequences = static_cast<const std::int32_t*>(launch.buffers[8]);
  const std::uint32_t head_dim = args.head_dim, heads = args.heads, kv_heads = args.kv_heads;
  const std::uint32_t half_dim = args.rotary_dim / 2;
  const std::size_t all_rows = static_cast<std::size_t>(args.num_sequences) * kv_heads * args.capacity;
  auto* cosines = reinterpret_cast<float*>(scratch((2 * half_dim + head_dim) * sizeof(float)));
  float* sines = cosines + half_dim;
  float* rotated = sines + half_dim;
  std::uint64_t rotated_row = ~0ull;
  for (std::uint64_t group = begin; group < end; group++) {
    const std::uint64_t row = group / (heads + 2 * kv_heads);
    const auto head = static_cast<std::uint32_t>(group % (heads + 2 * kv_heads));
    const std::uint32_t position = smaller(static_cast<std::uint32_t>(positions[row]), args.capacity - 1);
    if (row != rotated_row && head < heads + kv_heads) {
      fill_rotation(static_cast<float>(position), buffer(6), half_dim, cosines, sines);
      rotated_row = row;
    }
    const Rotation rotation{half_dim, is_interleaved, cosines, sines};
    if (head < heads) {
      const std::size_t at = (row * heads + head) * head_dim;
      rotate_head(buffer(1) + at, has_head_norm ? buffer(4) : nullptr, args.eps, head_dim, rotation,
                  static_cast<float*>(launch.buffers[9]) + at);
      continue;
    }
    const bool is_key = head < heads + kv_heads;
    const std::uint32_t kv_head = head - heads - (is_key ? 0 : kv_heads);
    const std::uint32_t sequence = smaller(static_cast<std::uint32_t>(sequences[row]), args.num_sequences - 1);
    const std::size_t cache_head = static_cast<std::size_t>(sequence) * kv_heads + kv_head;
    const float* source = buffer(is_key ? 2 : 3) + (row * kv_heads + kv_head) * head_dim;
    const auto target =
        cache_rows<T>(launch.buffers[is_key ? 10 : 11], all_rows, cache_head * args.capacity + position, head_dim);
    if (is_key) rotate_head(source, has_head_norm ? buffer(5) : nullptr, args.eps, head_dim, rotation, rotated);
    store_row(is_key ? rotated : source, head_dim, target);
  }
}

}  // namespace

extern const NativeKernel rope_cache_kernels[] = {{"rope_cache_f32", &rope_cache<float>},
                                                  {"rope_cache_f16", &rope_cache<std::uint16_t>},
                                                  {"rope_cache_bf16", &rope_cache<Bfloat>},
                                                  {"rope_cache_int8", &rope_cache<std::int8_t>},
                                                  {"rope_cache_int4", &rope_cache<Nibbles>}};
extern const NativeTable rope_cache_table = {rope_cache_kernels,
                                             sizeof(rope_cache_kernels) / sizeof(rope_cache_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
