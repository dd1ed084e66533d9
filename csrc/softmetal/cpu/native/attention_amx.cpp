// Prefill's attention on AMX; see attention_many.h. Keys are taken in spans: what earlier spans gave is scaled by how
// far the largest score has grown since.
#include "cpu/native/amx_tile.h"
#include "cpu/native/attention_many.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t span_keys = 512, block_queries = 2 * tile_height;
constexpr std::size_t score_stride = span_keys + 16;  // floats; not a power of two, so that rows spread over cache sets
constexpr float least_score = -3.0e38f;

// What the queries of a tile have so far: the largest score, the sum of the weights beneath it. Scores are logarithms
// to base 2: queries are scaled by log2(e) as well.
struct QueryState {
  float largest = least_score, total = 0.0f;
};

inline float largest_score(const float* scores, std::uint32_t begin, std::uint32_t end, float least) {
  __m512 most = _mm512_set1_ps(least);
  std::uint32_t p = begin / 16 * 16;
  if (p < begin) most = _mm512_mask_max_ps(most, lanes_within(p, begin, end), most, _mm512_load_ps(scores + p));
  p += p < begin ? 16 : 0;
  for (; p + 16 <= end; p += 16) most = _mm512_max_ps(most, _mm512_load_ps(scores + p));
  if (p < end) most = _mm512_mask_max_ps(most, lanes_within(p, begin, end), most, _mm512_load_ps(scores + p));
  return _mm512_reduce_max_ps(most);
}

// Turns scores [begin, end) of a row of `padded` (whole blocks of 32) into bfloat16 weights in place, zero elsewhere.
// Returns the factor by which what came before has to shrink.
float soften(float* scores, std::uint32_t begin, std::uint32_t end, std::uint32_t padded, QueryState& state) {
  const float largest = largest_score(scores, begin, end, state.largest);
  const __m512 most = _mm512_set1_ps(largest);
  const auto ones = reinterpret_cast<__m512bh>(_mm512_set1_epi16(0x3F80));
  __m512 sum = _mm512_setzero_ps();
  auto* out = reinterpret_cast<unsigned char*>(scores);
  const auto soften_block = [&](std::uint32_t p, __mmask16 first_lanes, __mmask16 last_lanes) {
    const __m512 first = coarse_power(_mm512_sub_ps(_mm512_load_ps(scores + p), most));
    const __m512 last = coarse_power(_mm512_sub_ps(_mm512_load_ps(scores + p + 16), most));
    const __m512i rounded = round_pairs(_mm512_maskz_mov_ps(first_lanes, first), _mm512_maskz_mov_ps(last_lanes, last));
    sum = _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(rounded), ones);
    _mm512_store_si512(out + p * 2, rounded);
  };
  const auto soften_edge = [&](std::uint32_t p) {
    soften_block(p, lanes_within(p, begin, end), lanes_within(p + 16, begin, end));
  };
  std::uint32_t p = 0;
  for (; p + 32 <= begin; p += 32) _mm512_store_si512(out + p * 2, _mm512_setzero_si512());
  if (p < begin && p < end) {
    soften_edge(p);
    p += 32;
  }
  for (; p + 32 <= end; p += 32) soften_block(p, 0xFFFF, 0xFFFF);
  if (p < end) {
    soften_edge(p);
    p += 32;
  }
  for (; p < padded; p += 32) _mm512_store_si512(out + p * 2, _mm512_setzero_si512());
  const bool is_first = state.total == 0.0f;
  const float factor = is_first ? 1.0f : exponential(broadcast((state.largest - largest) * log_of_2))[0];
  state.total = state.total * factor + _mm512_reduce_add_ps(sum);
  state.largest = largest;
  return factor;
}

inline void scale_row(float* row, std::uint32_t count, float factor, float* out) {
  for (std::uint32_t d = 0; d < count; d += width) store(out + d, load(row + d) * factor);
}

// One tile and KV head: memory, and the steps for a span of keys. Keys and values of a span are laid out once; then
// each block of queries passes through all steps, so that its scores stay in the caches.
class Attention {
 public:
  Attention(const AttentionBuffers& b, const RowTile& tile, std::uint32_t kv_head)
      : b_(b),
        tile_(tile),
        kv_head_(kv_head),
        group_(b.args.heads / b.args.kv_heads),
        head_dim_(b.args.head_dim),
        queries_(tile.rows * group_) {
    const std::size_t padded = std::size_t{whole_tiles(queries_)} * tile_height;
    const std::size_t panel_bytes = std::size_t{span_keys} * head_dim_ * 2, query_bytes = padded * head_dim_ * 2;
    const std::size_t score_bytes = block_queries * score_stride * sizeof(float);
    keys_ = scratch(2 * panel_bytes + query_bytes + score_bytes +
                    padded * (head_dim_ * sizeof(float) + sizeof(QueryState)));
    values_ = keys_ + panel_bytes;
    q_ = values_ + panel_bytes;
    scores_ = reinterpret_cast<float*>(q_ + query_bytes);
    sums_ = reinterpret_cast<float*>(reinterpret_cast<unsigned char*>(scores_) + score_bytes);
    states_ = reinterpret_cast<QueryState*>(sums_ + padded * head_dim_);
    const auto sequence = smaller(static_cast<std::uint32_t>(b.sequences[tile.row]), b.args.num_sequences - 1);
    cache_ = (static_cast<std::size_t>(sequence) * b.args.kv_heads + kv_head) * b.args.capacity * head_dim_;
  }

  void run(Vector& zeros) {
    load_queries(b_, tile_, kv_head_, b_.args.scale * log2_of_e, q_);
    for (std::uint32_t i = 0; i < queries_; i++) states_[i] = {};
    for (std::uint32_t p = tile_.first; p < tile_.last; p += span_keys) {
      const std::uint32_t count = smaller(span_keys, tile_.last - p);
      load_span(p, count);
      for (std::uint32_t i = 0; i < queries_; i += block_queries) attend(i, p, count);
    }
    for (std::uint32_t i = 0; i < queries_; i++) {
      const std::size_t row = tile_.row + i / group_, head = kv_head_ * group_ + i % group_;
      b_.write((row * b_.args.heads + head) * head_dim_, sums_ + std::size_t{i} * head_dim_, head_dim_,
               1.0f / states_[i].total, zeros);
    }
  }

 private:
  static std::uint32_t padded(std::uint32_t count) { return (count + 31) / 32 * 32; }

  // Panels of keys, then of 32 dimensions of values, of the positions [first, first + count).
  void load_span(std::uint32_t first, std::uint32_t count) {
    const std::size_t from = cache_ + static_cast<std::size_t>(first) * head_dim_;
    for (std::uint32_t p = 0; p < count; p += panel_outputs) {
      const std::size_t at = static_cast<std::size_t>(p) * head_dim_;
      load_keys(b_.keys + from + at, smaller(panel_outputs, count - p), head_dim_, keys_ + at * 2);
    }
    for (std::uint32_t d = 0; d < head_dim_; d += panel_outputs) {
      load_values(b_.values + from + d, count, padded(count), head_dim_, value_panel(d, 0));
    }
  }

  // Where the values of 32 dimensions from d on begin for the position `p` of the span, a multiple of 32.
  unsigned char* value_panel(std::uint32_t d, std::uint32_t p) const {
    return values_ + (std::size_t{d} * span_keys + std::size_t{p} * panel_outputs) * 2;
  }

  // The position after the last one that query i sees.
  std::uint32_t end_of(std::uint32_t i) const {
    return static_cast<std::uint32_t>(b_.positions[tile_.row + i / group_]) + 1;
  }

  // What the block of queries from `query` on sees of the `count` positions from `first` on.
  void attend(std::uint32_t query, std::uint32_t first, std::uint32_t count) {
    const std::uint32_t last_query = smaller(query + block_queries, queries_);
    const std::uint32_t begin = first_visible(b_.args.window, end_of(query)), end = end_of(last_query - 1);
    if (begin >= first + count || end <= first) return;
    const std::uint32_t from = begin > first ? (begin - first) / 32 * 32 : 0, to = smaller(end - first, count);
    const std::uint32_t tiles = whole_tiles(last_query - query);
    score(query, tiles, from, to);
    for (std::uint32_t i = query; i < last_query; i++) weigh(i, query, first + from, to - from, begin < first);
    if (begin < first) {
      add_values<true>(query, tiles, from, to);
    } else {
      add_values<false>(query, tiles, from, to);
    }
  }

  void score(std::uint32_t query, std::uint32_t tiles, std::uint32_t from, std::uint32_t to) {
    const std::size_t row = std::size_t{head_dim_} * 2;
    const TileRows queries{q_ + query * row, row, 64, row * tile_height};
    for (std::uint32_t p = from; p < to; p += panel_outputs) {
      multiply_all_tiles<false>(queries, tiles, head_dim_ / 32, keys_ + p * row, scores_ + (p - from), score_stride);
    }
  }

  // Scores of `count` positions from `first` on become weights, and what query i has so far shrinks.
  void weigh(std::uint32_t i, std::uint32_t query, std::uint32_t first, std::uint32_t count, bool has_sums) {
    const std::uint32_t end = end_of(i), begin = first_visible(b_.args.window, end);
    const float factor = soften(scores_ + (i - query) * score_stride, begin > first ? smaller(begin - first, count) : 0,
                                end > first ? smaller(end - first, count) : 0, padded(count), states_[i]);
    float* sums = sums_ + std::size_t{i} * head_dim_;
    if (has_sums && factor != 1.0f) scale_row(sums, head_dim_, factor, sums);
  }

  template <bool adds>
  void add_values(std::uint32_t query, std::uint32_t tiles, std::uint32_t from, std::uint32_t to) {
    constexpr std::size_t row = score_stride * sizeof(float);
    const TileRows weights{reinterpret_cast<const unsigned char*>(scores_), row, 64, row * tile_height};
    for (std::uint32_t d = 0; d < head_dim_; d += panel_outputs) {
      multiply_all_tiles<adds>(weights, tiles, padded(to - from) / 32, value_panel(d, from),
                               sums_ + std::size_t{query} * head_dim_ + d, head_dim_);
    }
  }

  const AttentionBuffers& b_;
  const RowTile& tile_;
  const std::uint32_t kv_head_, group_, head_dim_, queries_;
  std::size_t cache_;
  unsigned char *keys_, *values_, *q_;
  float *scores_, *sums_;
  QueryState* states_;
};

// Some 512 queries, so that keys and values are converted once for many.
std::uint32_t most_rows(const AttentionArgs& args) {
  const std::uint32_t rows = 512 / (args.heads / args.kv_heads);
  return rows < least_attention_rows ? least_attention_rows : rows;
}

void attention(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const TileUnit unit;
  const auto attend = [](const AttentionBuffers& b, const RowTile& tile, std::uint32_t kv_head, Vector& zeros) {
    Attention(b, tile, kv_head).run(zeros);
  };
  attention_many(launch, begin, end, &most_rows, attend);
}

}  // namespace

extern const NativeKernel attention_amx_kernels[] = {{"attention_f16_d32", &attention},
                                                     {"attention_f16_d64", &attention},
                                                     {"attention_f16_d128", &attention},
                                                     {"attention_f16_d256", &attention}};
extern const NativeTable attention_amx_table = {attention_amx_kernels,
                                                sizeof(attention_amx_kernels) / sizeof(attention_amx_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
