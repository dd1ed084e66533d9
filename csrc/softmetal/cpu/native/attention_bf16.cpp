// Prefill's attention on AVX-512 BF16: a tile of rows that follow each other, with all query heads of one KV head, is
// multiplied with panels of keys, and the weights with panels of values; sums and softmax in float32.
//
// Only runs of rows at consecutive positions of one sequence over a float16 cache are taken; the float kernel has the
// others, and, as in matmul, passes of a few rows. A call takes the rows whose first head lies in its part of the grid.
#include "cpu/native/bf16_tile.h"
#include "cpu/native/few_rows.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "include/attention_args.h"

namespace softmetal::cpu::native::avx512 {
extern const NativeTable attention_table;
}

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t tile_rows = 24;
constexpr std::uint32_t least_rows = 4;  // fewer are left to the float kernel

struct Buffers {
  explicit Buffers(const Launch& launch)
      : args(*static_cast<const AttentionArgs*>(launch.buffers[0])),
        q(static_cast<const float*>(launch.buffers[1])),
        keys(static_cast<const std::uint16_t*>(launch.buffers[2])),
        values(static_cast<const std::uint16_t*>(launch.buffers[3])),
        positions(static_cast<const std::int32_t*>(launch.buffers[4])),
        sequences(static_cast<const std::int32_t*>(launch.buffers[5])),
        y(static_cast<float*>(launch.buffers[6])) {}

  const AttentionArgs& args;
  const float* q;
  const std::uint16_t *keys, *values;
  const std::int32_t *positions, *sequences;
  float* y;
};

// Rows [row, row + rows) and the cache positions [first, last) that any of them sees.
struct Tile {
  std::uint32_t row, rows, first, last;
};

std::uint32_t first_visible(const AttentionArgs& args, std::uint32_t last) {
  return args.window != 0 && last > args.window ? last - args.window : 0;
}

inline __m512 load_halves(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// A panel of up to 32 keys, which repeat the last one: (head_dim / 2 pairs, 32 keys, 2).
void load_keys(const std::uint16_t* keys, std::uint32_t count, std::uint32_t head_dim, unsigned char* panel) {
  for (std::uint32_t side = 0; side < panel_outputs; side += lane_count) {
    for (std::uint32_t d = 0; d < head_dim; d += 32) {
      __m512i rows[lane_count];
      for (int i = 0; i < lane_count; i++) {
        const std::uint16_t* key = keys + static_cast<std::size_t>(smaller(side + i, count - 1)) * head_dim + d;
        rows[i] = round_pairs(load_halves(key), load_halves(key + 16));
      }
      transpose(rows);
      unsigned char* out = panel + (static_cast<std::size_t>(d / 2) * panel_outputs + side) * 4;
      for (int i = 0; i < 16; i++) _mm512_store_si512(out + static_cast<std::size_t>(i) * panel_outputs * 4, rows[i]);
    }
  }
}

// A panel of 32 dimensions of `count` values: (count / 2 pairs of positions, 32 dimensions, 2); an odd last one meets
// 0.
void load_values(const std::uint16_t* values, std::uint32_t count, std::uint32_t head_dim, unsigned char* panel) {
  const __m512i order =
      _mm512_setr_epi32(0x00100000, 0x00110001, 0x00120002, 0x00130003, 0x00140004, 0x00150005, 0x00160006, 0x00170007,
                        0x00180008, 0x00190009, 0x001A000A, 0x001B000B, 0x001C000C, 0x001D000D, 0x001E000E, 0x001F000F);
  for (std::uint32_t p = 0; p < count; p += 2) {
    const std::uint16_t* value = values + static_cast<std::size_t>(p) * head_dim;
    for (int side = 0; side < 2; side++) {
      const __m512 first = load_halves(value + side * 16);
      const __m512 second = p + 1 < count ? load_halves(value + head_dim + side * 16) : _mm512_setzero_ps();
      const __m512i pairs = _mm512_permutexvar_epi16(order, round_pairs(first, second));
      _mm512_store_si512(panel + (static_cast<std::size_t>(p) * lane_count + side * lane_count) * 4, pairs);
    }
  }
}

// Scaled queries of one KV head as (rows, group heads) rows of bfloat16 pairs in the order of round_pairs.
void load_queries(const Buffers& b, const Tile& tile, std::uint32_t kv_head, unsigned char* out) {
  const std::uint32_t group = b.args.heads / b.args.kv_heads, head_dim = b.args.head_dim;
  const __m512 scale = _mm512_set1_ps(b.args.scale);
  for (std::uint32_t r = 0; r < tile.rows; r++) {
    const float* q = b.q + (static_cast<std::size_t>(tile.row + r) * b.args.heads + kv_head * group) * head_dim;
    for (std::uint32_t d = 0; d < group * head_dim; d += 32, out += 64) {
      const __m512 first = _mm512_mul_ps(_mm512_loadu_ps(q + d), scale);
      _mm512_store_si512(out, round_pairs(first, _mm512_mul_ps(_mm512_loadu_ps(q + d + 16), scale)));
    }
  }
}

// Turns scores [begin, end) of a row of `count` (whole vectors of 32) into bfloat16 weights in place, zero elsewhere.
// Returns the reciprocal of their sum.
float softmax(float* scores, std::uint32_t begin, std::uint32_t end, std::uint32_t count) {
  const auto visible = [&](std::uint32_t p) {
    const auto below = [&](std::uint32_t bound) {
      return bound <= p ? 0u : bound - p >= 16 ? 0xFFFFu : (1u << (bound - p)) - 1;
    };
    return static_cast<__mmask16>(below(end) & ~below(begin));
  };
  __m512 largest = _mm512_set1_ps(-3.0e38f);
  for (std::uint32_t p = 0; p < count; p += 16) {
    largest = _mm512_mask_max_ps(largest, visible(p), largest, _mm512_load_ps(scores + p));
  }
  const float most = _mm512_reduce_max_ps(largest);
  __m512 total = _mm512_setzero_ps();
  auto* out = reinterpret_cast<unsigned char*>(scores);
  for (std::uint32_t p = 0; p < count; p += 16) {
    const Vector shifted = load(scores + p) - most;
    const __m512 weight = _mm512_maskz_mov_ps(visible(p), reinterpret_cast<__m512>(exponential(shifted)));
    const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(weight));
    total = _mm512_add_ps(total, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + p * 2), rounded);
  }
  return 1.0f / _mm512_reduce_add_ps(total);
}

void attend(const Buffers& b, const Tile& tile, std::uint32_t kv_head) {
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
  load_queries(b, tile, kv_head, q);
  for (std::uint32_t p = 0; p < count; p += panel_outputs) {
    load_keys(b.keys + cache + static_cast<std::size_t>(p) * head_dim, smaller(panel_outputs, count - p), head_dim,
              panel);
    multiply_rows(q, query_bytes, queries, head_dim / 2, panel, scores + p, padded);
  }
  for (std::uint32_t i = 0; i < queries; i++) {
    const auto end = static_cast<std::uint32_t>(b.positions[tile.row + i / group]) + 1;
    const std::uint32_t begin = first_visible(b.args, end);
    inverses[i] = softmax(scores + static_cast<std::size_t>(i) * padded, begin - tile.first, end - tile.first, padded);
  }
  const auto* weights = reinterpret_cast<const unsigned char*>(scores);
  for (std::uint32_t d = 0; d < head_dim; d += panel_outputs) {
    load_values(b.values + cache + d, count, head_dim, panel);
    multiply_rows(weights, score_bytes, queries, (count + 1) / 2, panel, results, panel_outputs);
    for (std::uint32_t i = 0; i < queries; i++) {
      const std::size_t row = tile.row + i / group,
                        at = (row * b.args.heads + kv_head * group + i % group) * head_dim + d;
      for (std::uint32_t j = 0; j < panel_outputs; j += width) {
        store(b.y + at + j, load(results + static_cast<std::size_t>(i) * panel_outputs + j) * inverses[i]);
      }
    }
  }
}

// How many rows from `row` on, before `end`, follow each other within one sequence and the cache.
std::uint32_t run_length(const Buffers& b, std::uint32_t row, std::uint32_t end) {
  std::uint32_t next = row;
  while (next < end && next < row + tile_rows && b.sequences[next] == b.sequences[row] &&
         b.positions[next] == b.positions[row] + static_cast<std::int32_t>(next - row) &&
         static_cast<std::uint32_t>(b.positions[next]) < b.args.capacity) {
    next++;
  }
  return next - row;
}

RunRange float_kernel() {
  for (std::size_t i = 0; i < avx512::attention_table.count; i++) {
    const NativeKernel& kernel = avx512::attention_table.kernels[i];
    if (std::strcmp(kernel.name, "attention_f16_d256") == 0) return kernel.run;
  }
  return nullptr;
}

void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const Buffers b(launch);
  const std::uint32_t heads = b.args.heads;
  static const RunRange one_by_one = float_kernel();
  if (b.args.head_dim % 32 != 0 || launch.threadgroups_per_grid.y <= few_rows) return one_by_one(launch, begin, end);
  const auto last_row = static_cast<std::uint32_t>((end + heads - 1) / heads);
  for (auto row = static_cast<std::uint32_t>((begin + heads - 1) / heads); row < last_row;) {
    const std::uint32_t rows = run_length(b, row, last_row);
    if (rows < least_rows) {
      const std::uint32_t count = rows == 0 ? 1 : rows;
      one_by_one(launch, std::uint64_t{row} * heads, std::uint64_t{row + count} * heads);
      row += count;
      continue;
    }
    const auto first_position = static_cast<std::uint32_t>(b.positions[row]);
    const Tile tile{row, rows, first_visible(b.args, first_position + 1), first_position + rows};
    for (std::uint32_t kv_head = 0; kv_head < b.args.kv_heads; kv_head++) attend(b, tile, kv_head);
    row += rows;
  }
}

}  // namespace

extern const NativeKernel attention_bf16_kernels[] = {{"attention_f16_d32", &attention},
                                                      {"attention_f16_d64", &attention},
                                                      {"attention_f16_d128", &attention},
                                                      {"attention_f16_d256", &attention}};
extern const NativeTable attention_bf16_table = {attention_bf16_kernels,
                                                 sizeof(attention_bf16_kernels) / sizeof(attention_bf16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
