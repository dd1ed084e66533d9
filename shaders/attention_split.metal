// attention_split: attention over one part of the context at a time; attention_combine makes the whole of the parts.
//
//   q (rows, heads, head_dim) float32; k_cache, v_cache (num_sequences, kv_heads, capacity, head_dim) of type T, see
//   cache_row.h positions, sequences (rows,) int32; blocks (rows, 2) int32, see attention_range.h partial (rows, heads,
//   splits, head_dim) float32: values weighted by e^(score - best) bests, totals (rows, heads, splits) float32: the
//   best score of the part, the sum of its weights
//
// Grid: (kv_heads * tiles of HEADS query heads, rows, splits), one simdgroup each: every key and value is read once for
// the HEADS heads that share it. Online softmax, Milakov and Gimelshein 2018; split as in Dao et al. 2023,
// "Flash-Decoding". PER_LANE = head_dim / 32, rounded up.
#include "include/attention_range.h"
#include "include/attention_split_args.h"
#include "include/cache_row.h"
#include "include/soft_cap.h"

constant bool has_blocks [[function_constant(0)]];

template <typename T, uint PER_LANE>
inline void load_row(device const T* row, uint head_dim, uint lane, thread float* out) {
  for (uint i = 0; i < PER_LANE; i++) {
    uint d = lane + i * 32;
    out[i] = d < head_dim ? float(row[d]) : 0.0f;
  }
}

// The same of four rows at once.
template <typename T, uint PER_LANE>
inline void load_rows(device const T* cache, ulong elements, ulong4 rows, uint head_dim, uint lane,
                      thread float4* out) {
  for (uint i = 0; i < PER_LANE; i++) {
    uint d = lane + i * 32;
    out[i] = d < head_dim
                 ? float4(cached(cache, elements, head_dim, rows.x, d), cached(cache, elements, head_dim, rows.y, d),
                          cached(cache, elements, head_dim, rows.z, d), cached(cache, elements, head_dim, rows.w, d))
                 : float4(0.0f);
  }
}

template <typename T>
inline float4 row_scales(device const T* cache, ulong elements, ulong4 rows) {
  return float4(row_scale(cache, elements, rows.x), row_scale(cache, elements, rows.y),
                row_scale(cache, elements, rows.z), row_scale(cache, elements, rows.w));
}

// What a lane keeps of a query head: its elements, and those of the weighted sum of values so far.
template <uint PER_LANE>
struct Head {
  float query[PER_LANE];
  float sum[PER_LANE];
  float best;
  float total;
};

// A function for each head, since compilers don't unroll a loop over heads whose body is that large.
template <uint PER_LANE>
inline void add_positions(thread const float4* keys, thread const float4* values, float4 key_scales,
                          float4 value_scales, bool4 is_there, float soft_cap, thread Head<PER_LANE>& head) {
  float4 dots = float4(0.0f);
  for (uint i = 0; i < PER_LANE; i++) {
    dots += head.query[i] * keys[i];
  }
  float4 scores = float4(simd_sum(dots.x), simd_sum(dots.y), simd_sum(dots.z), simd_sum(dots.w)) * key_scales;
  if (soft_cap != 0.0f) {
    scores = float4(capped(scores.x, soft_cap), capped(scores.y, soft_cap), capped(scores.z, soft_cap),
                    capped(scores.w, soft_cap));
  }
  float new_best = max(head.best, max(max(scores.x, scores.y), max(scores.z, scores.w)));
  float shrink = precise::exp(head.best - new_best);
  float4 weights = select(float4(0.0f), precise::exp(scores - new_best), is_there);
  head.best = new_best;
  head.total = head.total * shrink + ((weights.x + weights.y) + (weights.z + weights.w));
  weights *= value_scales;
  for (uint i = 0; i < PER_LANE; i++) {
    head.sum[i] = head.sum[i] * shrink + dot(weights, values[i]);
  }
}

template <typename T, uint PER_LANE, uint HEADS>
kernel void attention_split(constant AttentionSplitArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                            device const T* k_cache [[buffer(2)]], device const T* v_cache [[buffer(3)]],
                            device const int* positions [[buffer(4)]], device const int* sequences [[buffer(5)]],
                            device const int* blocks [[buffer(6), function_constant(has_blocks)]],
                            device float* partial [[buffer(7)]], device float* bests [[buffer(8)]],
                            device float* totals [[buffer(9)]], uint3 group [[threadgroup_position_in_grid]],
                            uint lane [[thread_index_in_simdgroup]]) {
  uint head_dim = args.head_dim;
  uint group_heads = args.heads / args.kv_heads;
  uint tiles = (group_heads + HEADS - 1) / HEADS;
  uint kv_head = group.x / tiles;
  uint first_head = kv_head * group_heads + group.x % tiles * HEADS;
  uint heads = min(HEADS, (kv_head + 1) * group_heads - first_head);
  uint sequence = min(uint(sequences[group.y]), args.num_sequences - 1);
  ulong first_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;

  int2 block = has_blocks ? int2(blocks[group.y * 2], blocks[group.y * 2 + 1]) : int2(0);
  uint2 range = visible_range(uint(positions[group.y]), args.window, args.capacity, block);
  uint length = (range.y - range.x + args.splits - 1) / args.splits;
  uint begin = min(range.x + group.z * length, range.y);
  uint end = min(begin + length, range.y);

  Head<PER_LANE> states[HEADS];
  for (uint h = 0; h < HEADS; h++) {
    // Heads beyond the group repeat its last one; their results are not stored.
    uint head = first_head + min(h, heads - 1);
    load_row<float, PER_LANE>(q + (ulong(group.y) * args.heads + head) * head_dim, head_dim, lane, states[h].query);
    states[h].best = LOWEST_ATTENTION_SCORE;
    states[h].total = 0.0f;
    for (uint i = 0; i < PER_LANE; i++) {
      states[h].sum[i] = 0.0f;
    }
  }
  // Four positions at a time: their loads and sums over lanes are under way together.
  for (uint p = begin; p < end; p += 4) {
    float4 keys[PER_LANE];
    float4 values[PER_LANE];
    // Positions beyond the last repeat it, with a weight of zero.
    ulong4 rows = first_row + ulong4(p, min(p + 1, end - 1), min(p + 2, end - 1), min(p + 3, end - 1));
    load_rows<T, PER_LANE>(k_cache, elements, rows, head_dim, lane, keys);
    load_rows<T, PER_LANE>(v_cache, elements, rows, head_dim, lane, values);
    float4 key_scales = row_scales(k_cache, elements, rows) * args.scale;
    float4 value_scales = row_scales(v_cache, elements, rows);
    bool4 is_there = bool4(true, p + 1 < end, p + 2 < end, p + 3 < end);
    add_positions<PER_LANE>(keys, values, key_scales, value_scales, is_there, args.soft_cap, states[0]);
    if (HEADS == 4) {
      add_positions<PER_LANE>(keys, values, key_scales, value_scales, is_there, args.soft_cap, states[HEADS - 3]);
      add_positions<PER_LANE>(keys, values, key_scales, value_scales, is_there, args.soft_cap, states[HEADS - 2]);
      add_positions<PER_LANE>(keys, values, key_scales, value_scales, is_there, args.soft_cap, states[HEADS - 1]);
    }
  }

  for (uint h = 0; h < HEADS; h++) {
    if (h >= heads) {
      continue;
    }
    ulong part = (ulong(group.y) * args.heads + first_head + h) * args.splits + group.z;
    for (uint i = 0; i < PER_LANE; i++) {
      uint d = lane + i * 32;
      if (d < head_dim) {
        partial[part * head_dim + d] = states[h].sum[i];
      }
    }
    if (lane == 0) {
      bests[part] = states[h].best;
      totals[part] = states[h].total;
    }
  }
}

#define INSTANTIATE_HEADS(host, T, PER_LANE, HEADS) \
  template [[host_name(host)]] kernel decltype(attention_split<T, PER_LANE, HEADS>) attention_split<T, PER_LANE, HEADS>;
#define INSTANTIATE_STEP(name, T, step, PER_LANE)                              \
  INSTANTIATE_HEADS("attention_split_" #name "_d" #step "_h1", T, PER_LANE, 1) \
  INSTANTIATE_HEADS("attention_split_" #name "_d" #step "_h4", T, PER_LANE, 4)
#define INSTANTIATE(name, T)        \
  INSTANTIATE_STEP(name, T, 64, 2)  \
  INSTANTIATE_STEP(name, T, 128, 4) \
  INSTANTIATE_STEP(name, T, 192, 6) \
  INSTANTIATE_STEP(name, T, 256, 8) \
  INSTANTIATE_STEP(name, T, 512, 16)
INSTANTIATE(f32, float)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
INSTANTIATE(int8, char)
INSTANTIATE(int4, Nibbles)
