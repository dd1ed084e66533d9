// Prefill's attention over a float16 cache with operands rounded to bfloat16: what instruction sets share.
//
// A tile of rows that follow each other, with all query heads of one KV head, is multiplied with panels of keys, and
// the weights with panels of values (bf16_tile.h); sums and softmax in float32. Only runs of rows at consecutive
// positions of one sequence are taken; the float kernel has the others, and, as in matmul, passes of a few rows. A call
// takes the rows whose first head lies in its part of the grid.
#pragma once

#include "cpu/native/attention_row.h"
#include "cpu/native/bf16_tile.h"
#include "cpu/native/few_rows.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/row_output.h"
#include "include/attention_args.h"

namespace softmetal::cpu::native::avx512 {
extern const NativeTable attention_table;
}

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t least_attention_rows = 4;  // fewer are left to the float kernel

struct AttentionBuffers {
  explicit AttentionBuffers(const Launch& launch)
      : args(*static_cast<const AttentionArgs*>(launch.buffers[0])),
        q(static_cast<const float*>(launch.buffers[1])),
        keys(static_cast<const std::uint16_t*>(launch.buffers[2])),
        values(static_cast<const std::uint16_t*>(launch.buffers[3])),
        positions(static_cast<const std::int32_t*>(launch.buffers[4])),
        sequences(static_cast<const std::int32_t*>(launch.buffers[5])),
        y(launch.buffers[6]),
        is_bfloat(is_true(launch, 0)) {}

  // Element `at` of y and what follows it, as y is to be: `count` floats, whole vectors, times `factor`. `zeros` stay
  // zeros if all of them are finite.
  void write(std::size_t at, const float* values, std::uint32_t count, float factor, Vector& zeros) const {
    for (std::uint32_t i = 0; i < count; i += width) {
      const Vector scaled = load(values + i) * factor;
      zeros += scaled * 0.0f;
      is_bfloat ? store_rounded(static_cast<Bfloat*>(y) + at + i, scaled)
                : store_rounded(static_cast<float*>(y) + at + i, scaled);
    }
  }

  const AttentionArgs& args;
  const float* q;
  const std::uint16_t *keys, *values;
  const std::int32_t *positions, *sequences;
  void* y;
  bool is_bfloat;  // writes_bfloat, the shader's only function constant
};

// Rows [row, row + rows) and the cache positions [first, last) that any of them sees.
struct RowTile {
  std::uint32_t row, rows, first, last;
};

// Lanes of the 16 scores from p on that are in [begin, end).
inline __mmask16 lanes_within(std::uint32_t p, std::uint32_t begin, std::uint32_t end) {
  const auto below = [&](std::uint32_t bound) {
    return bound <= p ? 0u : bound - p >= 16 ? 0xFFFFu : (1u << (bound - p)) - 1;
  };
  return static_cast<__mmask16>(below(end) & ~below(begin));
}

inline __m512 load_halves(const std::uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// A panel of up to 32 keys, which repeat the last one: (head_dim / 2 pairs, 32 keys, 2).
inline void load_keys(const std::uint16_t* keys, std::uint32_t count, std::uint32_t head_dim, unsigned char* panel) {
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

// A panel of 32 dimensions of `count` values: (padded / 2 pairs of positions, 32 dimensions, 2), zeros from `count` on.
inline void load_values(const std::uint16_t* values, std::uint32_t count, std::uint32_t padded, std::uint32_t head_dim,
                        unsigned char* panel) {
  const __m512i order =
      _mm512_setr_epi32(0x00100000, 0x00110001, 0x00120002, 0x00130003, 0x00140004, 0x00150005, 0x00160006, 0x00170007,
                        0x00180008, 0x00190009, 0x001A000A, 0x001B000B, 0x001C000C, 0x001D000D, 0x001E000E, 0x001F000F);
  for (std::uint32_t p = 0; p < padded; p += 2) {
    const std::uint16_t* value = values + static_cast<std::size_t>(p) * head_dim;
    for (int side = 0; side < 2; side++) {
      const __m512 first = p < count ? load_halves(value + side * 16) : _mm512_setzero_ps();
      const __m512 second = p + 1 < count ? load_halves(value + head_dim + side * 16) : _mm512_setzero_ps();
      const __m512i pairs = _mm512_permutexvar_epi16(order, round_pairs(first, second));
      _mm512_store_si512(panel + (static_cast<std::size_t>(p) * lane_count + side * lane_count) * 4, pairs);
    }
  }
}

// Queries of one KV head times `factor`, as (rows, group heads) rows of bfloat16 pairs in the order of round_pairs.
inline void load_queries(const AttentionBuffers& b, const RowTile& tile, std::uint32_t kv_head, float factor,
                         unsigned char* out) {
  const std::uint32_t group = b.args.heads / b.args.kv_heads, head_dim = b.args.head_dim;
  const __m512 scale = _mm512_set1_ps(factor);
  for (std::uint32_t r = 0; r < tile.rows; r++) {
    const float* q = b.q + (static_cast<std::size_t>(tile.row + r) * b.args.heads + kv_head * group) * head_dim;
    for (std::uint32_t d = 0; d < group * head_dim; d += 32, out += 64) {
      const __m512 first = _mm512_mul_ps(_mm512_loadu_ps(q + d), scale);
      _mm512_store_si512(out, round_pairs(first, _mm512_mul_ps(_mm512_loadu_ps(q + d + 16), scale)));
    }
  }
}

// How many rows from `row` on, before `end`, follow each other within one sequence and the cache.
inline std::uint32_t run_length(const AttentionBuffers& b, std::uint32_t row, std::uint32_t end) {
  std::uint32_t next = row;
  while (next < end && b.sequences[next] == b.sequences[row] &&
         b.positions[next] == b.positions[row] + static_cast<std::int32_t>(next - row) &&
         static_cast<std::uint32_t>(b.positions[next]) < b.args.capacity) {
    next++;
  }
  return next - row;
}

inline RunRange float_attention() {
  for (std::size_t i = 0; i < avx512::attention_table.count; i++) {
    const NativeKernel& kernel = avx512::attention_table.kernels[i];
    if (std::strcmp(kernel.name, "attention_f16_d256") == 0) return kernel.run;
  }
  return nullptr;
}

// Calls attend(b, tile, kv_head, zeros) for all rows whose first head lies in [begin, end). most_rows(args) bounds a
// tile. Products have zeros for what a row of a tile does not see, which a cached value that is not finite makes NaN:
// the float kernel, which does not look there, then computes the tile anew.
template <typename MostRows, typename Attend>
void attention_many(const Launch& launch, std::uint64_t begin, std::uint64_t end, const MostRows& most_rows,
                    const Attend& attend) {
  const AttentionBuffers b(launch);
  const std::uint32_t heads = b.args.heads;
  static const RunRange one_by_one = float_attention();
  if (b.args.head_dim % 32 != 0 || launch.threadgroups_per_grid.y <= few_rows) return one_by_one(launch, begin, end);
  const auto last_row = static_cast<std::uint32_t>((end + heads - 1) / heads);
  for (auto row = static_cast<std::uint32_t>((begin + heads - 1) / heads); row < last_row;) {
    const std::uint32_t rows = run_length(b, row, last_row);
    if (rows < least_attention_rows) {
      const std::uint32_t count = rows == 0 ? 1 : rows;
      one_by_one(launch, std::uint64_t{row} * heads, std::uint64_t{row + count} * heads);
      row += count;
      continue;
    }
    const std::uint32_t tiles = (rows + most_rows(b.args) - 1) / most_rows(b.args), end_of_run = row + rows;
    const std::uint32_t rows_of_tile = (rows + tiles - 1) / tiles;
    for (; row < end_of_run; row += rows_of_tile) {
      const std::uint32_t count = smaller(rows_of_tile, end_of_run - row);
      const auto first_position = static_cast<std::uint32_t>(b.positions[row]);
      const RowTile tile{row, count, first_visible(b.args.window, first_position + 1), first_position + count};
      Vector zeros{};
      for (std::uint32_t kv_head = 0; kv_head < b.args.kv_heads; kv_head++) attend(b, tile, kv_head, zeros);
      if (horizontal_sum(zeros) == 0.0f) continue;
      one_by_one(launch, std::uint64_t{row} * heads, std::uint64_t{row + count} * heads);
    }
    row = end_of_run;
  }
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
