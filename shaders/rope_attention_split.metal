// rope_attention_split: rope_attention over one part of the context at a time; attention_combine makes the whole.
//
//   q (1, heads, head_dim), k, v (1, kv_heads, head_dim) float32; frequencies (head_dim / 2,) float32, radians a
//   position k_cache, v_cache (num_sequences, kv_heads, capacity, head_dim) of type T (see cache_row.h); positions,
//   sequences (1,) int32 partial (1, heads, splits, head_dim), bests, totals (1, heads, splits) float32, see
//   attention_split
//
// Grid: (heads, splits). Each threadgroup norms and rotates its query; the first part of a head also takes the row's
// own key and value, and that of a group's first head writes them to the cache, so nobody reads what this stage writes.
// A lane holds VECTORS runs of WIDTH neighbouring elements: head_dim = 32 * WIDTH * VECTORS. Positions are taken BATCH
// at a time, so that many loads are on their way at once.
#include <metal_stdlib>

#include "include/attention_split_args.h"
#include "include/cache_row.h"
#include "include/rope_attention_args.h"
using namespace metal;

constant bool has_head_norm [[function_constant(0)]];

constant constexpr uint SIMDGROUPS = 8;
constant constexpr uint BATCH = 4;

template <typename T, uint WIDTH>
inline vec<float, WIDTH> loaded(vec<T, WIDTH> from) {
  vec<float, WIDTH> to;
  for (uint i = 0; i < WIDTH; i++) {
    to[i] = float(from[i]);
  }
  return to;
}

template <typename T, uint WIDTH>
inline vec<T, WIDTH> stored(vec<float, WIDTH> from, float scale) {
  vec<T, WIDTH> to;
  for (uint i = 0; i < WIDTH; i++) {
    to[i] = as_element<T>(from[i], scale);
  }
  return to;
}

// The largest magnitude of a row that the lanes of a simdgroup hold together.
template <uint WIDTH, uint VECTORS>
inline float largest_of(thread const vec<float, WIDTH>* row) {
  float largest = 0.0f;
  for (uint i = 0; i < VECTORS; i++) {
    for (uint j = 0; j < WIDTH; j++) {
      largest = max(largest, abs(row[i][j]));
    }
  }
  return simd_max(largest);
}

// Called by one simdgroup: x normed, rotated and written to `out`.
inline void rotate_head(device const float* x, device const float* weight, device const float* frequencies,
                        uint head_dim, float position, float eps, float factor, uint lane, threadgroup float* out) {
  float scale = factor;
  if (has_head_norm) {
    float squares = 0.0f;
    for (uint d = lane; d < head_dim; d += 32) {
      squares += x[d] * x[d];
    }
    scale *= precise::rsqrt(simd_sum(squares) / float(head_dim) + eps);
  }
  uint half_dim = head_dim / 2;
  for (uint d = lane; d < half_dim; d += 32) {
    float angle = position * frequencies[d];
    float c = precise::cos(angle);
    float s = precise::sin(angle);
    float first = x[d] * scale * (has_head_norm ? weight[d] : 1.0f);
    float second = x[d + half_dim] * scale * (has_head_norm ? weight[d + half_dim] : 1.0f);
    out[d] = first * c - second * s;
    out[d + half_dim] = second * c + first * s;
  }
}

template <typename T, uint WIDTH, uint VECTORS>
kernel void rope_attention_split(
    constant RopeAttentionSplitArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
    device const float* k [[buffer(2)]], device const float* v [[buffer(3)]],
    device const float* q_weight [[buffer(4), function_constant(has_head_norm)]],
    device const float* k_weight [[buffer(5), function_constant(has_head_norm)]],
    device const float* frequencies [[buffer(6)]], device const int* positions [[buffer(7)]],
    device const int* sequences [[buffer(8)]], device T* k_cache [[buffer(9)]], device T* v_cache [[buffer(10)]],
    device float* partial [[buffer(11)]], device float* bests [[buffer(12)]], device float* totals [[buffer(13)]],
    uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]], uint thread_index [[thread_index_in_threadgroup]]) {
  typedef vec<float, WIDTH> Floats;
  const uint head_dim = 32 * WIDTH * VECTORS;
  threadgroup float query_row[32 * WIDTH * VECTORS];
  threadgroup float key_row[32 * WIDTH * VECTORS];
  threadgroup float best_of[SIMDGROUPS];
  threadgroup float total_of[SIMDGROUPS];
  threadgroup Floats sums[SIMDGROUPS][32 * VECTORS];
  uint head = group.x;
  uint group_heads = args.heads / args.kv_heads;
  uint kv_head = head / group_heads;
  uint position = min(uint(positions[0]), args.capacity - 1);
  uint sequence = min(uint(sequences[0]), args.num_sequences - 1);
  ulong first_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
  ulong cache_start = first_row * head_dim;
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;
  device const vec<T, WIDTH>* keys = (device const vec<T, WIDTH>*)(k_cache + cache_start) + lane;
  device const vec<T, WIDTH>* values = (device const vec<T, WIDTH>*)(v_cache + cache_start) + lane;
  bool is_first = group.y == 0;

  if (simdgroup == 0) {
    rotate_head(q + head * head_dim, q_weight, frequencies, head_dim, float(position), args.eps, args.scale, lane,
                query_row);
  } else if (simdgroup == 1 && is_first) {
    rotate_head(k + kv_head * head_dim, k_weight, frequencies, head_dim, float(position), args.eps, 1.0f, lane,
                key_row);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  Floats query[VECTORS];
  Floats sum[VECTORS];
  for (uint i = 0; i < VECTORS; i++) {
    query[i] = ((threadgroup const Floats*)query_row)[i * 32 + lane];
    sum[i] = Floats(0.0f);
  }
  float best = LOWEST_ATTENTION_SCORE;
  float total = 0.0f;
  if (is_first && simdgroup == 0) {
    Floats key[VECTORS];
    Floats value[VECTORS];
    for (uint i = 0; i < VECTORS; i++) {
      key[i] = ((threadgroup const Floats*)key_row)[i * 32 + lane];
      value[i] = ((device const Floats*)(v + kv_head * head_dim))[i * 32 + lane];
    }
    bool is_scaled = has_row_scales(k_cache);
    float key_scale = scale_of_row(k_cache, is_scaled ? largest_of<WIDTH, VECTORS>(key) : 0.0f);
    float value_scale = scale_of_row(v_cache, is_scaled ? largest_of<WIDTH, VECTORS>(value) : 0.0f);
    bool writes = head % group_heads == 0;
    if (writes && lane == 0) {
      store_row_scale(k_cache, elements, first_row + position, key_scale);
      store_row_scale(v_cache, elements, first_row + position, value_scale);
    }
    float own = 0.0f;
    for (uint i = 0; i < VECTORS; i++) {
      vec<T, WIDTH> stored_key = stored<T, WIDTH>(key[i], key_scale);
      vec<T, WIDTH> stored_value = stored<T, WIDTH>(value[i], value_scale);
      if (writes) {
        ulong at = cache_start + ulong(position) * head_dim;
        ((device vec<T, WIDTH>*)(k_cache + at))[i * 32 + lane] = stored_key;
        ((device vec<T, WIDTH>*)(v_cache + at))[i * 32 + lane] = stored_value;
      }
      own += dot(query[i], loaded<T, WIDTH>(stored_key)) * key_scale;
      sum[i] = loaded<T, WIDTH>(stored_value) * value_scale;
    }
    best = simd_sum(own);
    total = 1.0f;
  }

  uint first_visible = args.window != 0 && position + 1 > args.window ? position + 1 - args.window : 0;
  uint length = (position - first_visible + args.splits - 1) / args.splits;
  uint begin = min(first_visible + group.y * length, position);
  uint end = min(begin + length, position);
  for (uint p = begin + simdgroup * BATCH; p < end; p += SIMDGROUPS * BATCH) {
    // Positions beyond the end repeat the last with no weight.
    Floats key[BATCH][VECTORS];
    Floats value[BATCH][VECTORS];
    float key_scale[BATCH];
    float value_scale[BATCH];
    for (uint b = 0; b < BATCH; b++) {
      ulong row = min(p + b, end - 1);
      key_scale[b] = row_scale(k_cache, elements, first_row + row);
      value_scale[b] = row_scale(v_cache, elements, first_row + row);
      for (uint i = 0; i < VECTORS; i++) {
        ulong at = (row * VECTORS + i) * 32;
        key[b][i] = loaded<T, WIDTH>(keys[at]);
        value[b][i] = loaded<T, WIDTH>(values[at]);
      }
    }
    float score[BATCH];
    float new_best = best;
    for (uint b = 0; b < BATCH; b++) {
      float product = 0.0f;
      for (uint i = 0; i < VECTORS; i++) {
        product += dot(query[i], key[b][i]);
      }
      product = simd_sum(product) * key_scale[b];
      score[b] = p + b < end ? product : LOWEST_ATTENTION_SCORE;
      new_best = max(new_best, score[b]);
    }
    float shrink = precise::exp(best - new_best);
    best = new_best;
    total *= shrink;
    for (uint i = 0; i < VECTORS; i++) {
      sum[i] *= shrink;
    }
    for (uint b = 0; b < BATCH; b++) {
      float weight = p + b < end ? precise::exp(score[b] - new_best) : 0.0f;
      total += weight;
      weight *= value_scale[b];
      for (uint i = 0; i < VECTORS; i++) {
        sum[i] += weight * value[b][i];
      }
    }
  }

  if (lane == 0) {
    best_of[simdgroup] = best;
    total_of[simdgroup] = total;
  }
  for (uint i = 0; i < VECTORS; i++) {
    sums[simdgroup][i * 32 + lane] = sum[i];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float overall = best_of[0];
  for (uint s = 1; s < SIMDGROUPS; s++) {
    overall = max(overall, best_of[s]);
  }
  float part_total = 0.0f;
  float weights[SIMDGROUPS];
  for (uint s = 0; s < SIMDGROUPS; s++) {
    weights[s] = precise::exp(best_of[s] - overall);
    part_total += total_of[s] * weights[s];
  }
  uint part = head * args.splits + group.y;
  for (uint d = thread_index; d < head_dim; d += SIMDGROUPS * 32) {
    float weighted = 0.0f;
    for (uint s = 0; s < SIMDGROUPS; s++) {
      weighted += ((threadgroup const float*)sums[s])[d] * weights[s];
    }
    partial[part * head_dim + d] = weighted;
  }
  if (thread_index == 0) {
    bests[part] = overall;
    totals[part] = part_total;
  }
}

#define INSTANTIATE_DIM(host, T, WIDTH, VECTORS) \
  template [[host_name(                          \
      host)]] kernel decltype(rope_attention_split<T, WIDTH, VECTORS>) rope_attention_split<T, WIDTH, VECTORS>;
#define INSTANTIATE(name, T)                                      \
  INSTANTIATE_DIM("rope_attention_split_" #name "_d64", T, 2, 1)  \
  INSTANTIATE_DIM("rope_attention_split_" #name "_d128", T, 4, 1) \
  INSTANTIATE_DIM("rope_attention_split_" #name "_d256", T, 4, 2)
INSTANTIATE(f32, float)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
INSTANTIATE(int8, char)
