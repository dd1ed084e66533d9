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

  float query[HEADS][PER_LANE];
  float sum[HEADS][PER_LANE];
  float best[HEADS];
  float total[HEADS];
  for (uint h = 0; h < HEADS; h++) {
    // Heads beyond the group repeat its last one; their results are not stored.
    uint head = first_head + min(h, heads - 1);
    load_row<float, PER_LANE>(q + (ulong(group.y) * args.heads + head) * head_dim, head_dim, lane, query[h]);
    best[h] = LOWEST_ATTENTION_SCORE;
    total[h] = 0.0f;
    for (uint i = 0; i < PER_LANE; i++) {
      sum[h][i] = 0.0f;
    }
  }
  for (uint p = begin; p < end; p++) {
    float key[PER_LANE];
    float value[PER_LANE];
    ulong row = first_row + p;
    load_row<T, PER_LANE>(k_cache + row * head_dim, head_dim, lane, key);
    load_row<T, PER_LANE>(v_cache + row * head_dim, head_dim, lane, value);
    float key_scale = row_scale(k_cache, elements, row) * args.scale;
    float value_scale = row_scale(v_cache, elements, row);
    for (uint h = 0; h < HEADS; h++) {
      float dot = 0.0f;
      for (uint i = 0; i < PER_LANE; i++) {
        dot += query[h][i] * key[i];
      }
      float score = simd_sum(dot) * key_scale;
      if (args.soft_cap != 0.0f) {
        score = capped(score, args.soft_cap);
      }
      float new_best = max(best[h], score);
      float shrink = precise::exp(best[h] - new_best);
      float weight = precise::exp(score - new_best);
      best[h] = new_best;
      total[h] = total[h] * shrink + weight;
      for (uint i = 0; i < PER_LANE; i++) {
        sum[h][i] = sum[h][i] * shrink + weight * value_scale * value[i];
      }
    }
  }

  for (uint h = 0; h < heads; h++) {
    ulong part = (ulong(group.y) * args.heads + first_head + h) * args.splits + group.z;
    for (uint i = 0; i < PER_LANE; i++) {
      uint d = lane + i * 32;
      if (d < head_dim) {
        partial[part * head_dim + d] = sum[h][i];
      }
    }
    if (lane == 0) {
      bests[part] = best[h];
      totals[part] = total[h];
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
