// rope_attention_split: rope_attention over one part of the context at a time; attention_combine makes the whole.
//
//   q (1, heads, head_dim), k, v (1, kv_heads, head_dim) float32; frequencies (head_dim / 2,) float32, radians a
//   position k_cache, v_cache (num_sequences, kv_heads, capacity, head_dim) of type T (see cache_run.h); positions,
//   sequences (1,) int32 partial (1, heads, splits, head_dim), bests, totals (1, heads, splits) float32, see
//   attention_split
//
// Grid: (heads, splits). Every simdgroup norms and rotates the query for itself; the last one of a head's first part
// also takes the row's own key and value, and that of a group's first head writes them to the cache, so nobody reads
// what this stage writes. A lane holds VECTORS runs of WIDTH neighbouring elements: head_dim = 32 * WIDTH * VECTORS.
// Positions are taken BATCH at a time, so that many loads are on their way at once; the first of them, and the angles,
// before the inputs are there: rows that are read were written by earlier passes, positions at a pass's begin.
#include <metal_stdlib>

#include "include/attention_split_args.h"
#include "include/cache_run.h"
#include "include/early_start.h"
#include "include/rope_attention_args.h"
using namespace metal;

constant bool has_head_norm [[function_constant(0)]];

constant constexpr uint SIMDGROUPS = 16;
constant constexpr uint BATCH = 4;

// What a lane multiplies its elements of a row by: out = x * cosine + partner * sine, where an element's partner is
// half a head away, and the norm's weight goes with its element.
template <uint WIDTH, uint VECTORS>
struct Rotation {
  vec<float, WIDTH> cosines[VECTORS];
  vec<float, WIDTH> sines[VECTORS];
};

template <uint WIDTH, uint VECTORS>
inline void load_rotation(device const float* frequencies, float position, uint lane,
                          thread Rotation<WIDTH, VECTORS>& rotation) {
  const uint half_dim = 16 * WIDTH * VECTORS;
  bool is_first_half = VECTORS == 2 || lane < 16;
  for (uint j = 0; j < WIDTH; j++) {
    float angle = position * frequencies[(lane * WIDTH + j) % half_dim];
    float sine = precise::sin(angle);
    rotation.cosines[0][j] = precise::cos(angle);
    rotation.sines[0][j] = is_first_half ? -sine : sine;
  }
  if (VECTORS == 2) {
    rotation.cosines[1] = rotation.cosines[0];
    rotation.sines[1] = -rotation.sines[0];
  }
}

template <uint WIDTH, uint VECTORS>
inline void load_row(device const float* x, uint lane, thread vec<float, WIDTH>* row) {
  for (uint i = 0; i < VECTORS; i++) {
    row[i] = ((device const vec<float, WIDTH>*)x)[i * 32 + lane];
  }
}

// Norms and rotates a row that the lanes of a simdgroup hold together.
template <uint WIDTH, uint VECTORS>
inline void rotate_row(thread const Rotation<WIDTH, VECTORS>& rotation, thread const vec<float, WIDTH>* weight,
                       float eps, float factor, thread vec<float, WIDTH>* row) {
  float scale = factor;
  if (has_head_norm) {
    float squares = 0.0f;
    for (uint i = 0; i < VECTORS; i++) {
      squares += dot(row[i], row[i]);
    }
    scale *= precise::rsqrt(simd_sum(squares) / float(32 * WIDTH * VECTORS) + eps);
  }
  vec<float, WIDTH> scaled[VECTORS];
  for (uint i = 0; i < VECTORS; i++) {
    scaled[i] = row[i] * scale;
    if (has_head_norm) {
      scaled[i] *= weight[i];
    }
  }
  for (uint i = 0; i < VECTORS; i++) {
    vec<float, WIDTH> partner = VECTORS == 2 ? scaled[VECTORS - 1 - i] : simd_shuffle_xor(scaled[i], 16);
    row[i] = scaled[i] * rotation.cosines[i] + partner * rotation.sines[i];
  }
}

// A lane's elements of BATCH keys and values.
template <typename T, uint WIDTH, uint VECTORS>
struct CachedRows {
  typename CacheRun<T, WIDTH>::Stored keys[BATCH][VECTORS];
  typename CacheRun<T, WIDTH>::Stored values[BATCH][VECTORS];
  float key_scales[BATCH][VECTORS];
  float value_scales[BATCH][VECTORS];
};

// The caches of a sequence and key head; its rows are numbers first_row and on of all.
template <typename T>
struct CacheView {
  device const T* keys;
  device const T* values;
  ulong elements;
  ulong first_row;
};

// Positions from `last` on repeat it.
template <typename T, uint WIDTH, uint VECTORS>
inline void load_rows(thread const CacheView<T>& cache, uint position, uint last, uint lane,
                      thread CachedRows<T, WIDTH, VECTORS>& rows) {
  typedef CacheRun<T, WIDTH> Run;
  for (uint b = 0; b < BATCH; b++) {
    ulong row = cache.first_row + min(position + b, last);
    for (uint i = 0; i < VECTORS; i++) {
      ulong run = (row * VECTORS + i) * 32 + lane;
      rows.key_scales[b][i] = Run::template scale<VECTORS>(cache.keys, cache.elements, run);
      rows.value_scales[b][i] = Run::template scale<VECTORS>(cache.values, cache.elements, run);
      rows.keys[b][i] = ((device const typename Run::Stored*)cache.keys)[run];
      rows.values[b][i] = ((device const typename Run::Stored*)cache.values)[run];
    }
  }
}

// A softmax on its way: the best score, the sum of the weights e^(score - best), and of the values so weighted.
template <uint WIDTH, uint VECTORS>
struct Running {
  float best;
  float total;
  vec<float, WIDTH> sum[VECTORS];
};

// Takes the first `count` of the rows.
template <typename T, uint WIDTH, uint VECTORS>
inline void attend(thread const CachedRows<T, WIDTH, VECTORS>& rows, uint count, thread const vec<float, WIDTH>* query,
                   thread Running<WIDTH, VECTORS>& running) {
  float scores[BATCH];
  float new_best = running.best;
  for (uint b = 0; b < BATCH; b++) {
    float product = 0.0f;
    for (uint i = 0; i < VECTORS; i++) {
      product += dot(query[i], CacheRun<T, WIDTH>::floats(rows.keys[b][i])) * rows.key_scales[b][i];
    }
    product = simd_sum(product);
    scores[b] = b < count ? product : LOWEST_ATTENTION_SCORE;
    new_best = max(new_best, scores[b]);
  }
  float shrink = precise::exp(running.best - new_best);
  running.best = new_best;
  running.total *= shrink;
  for (uint i = 0; i < VECTORS; i++) {
    running.sum[i] *= shrink;
  }
  for (uint b = 0; b < BATCH; b++) {
    float weight = b < count ? precise::exp(scores[b] - new_best) : 0.0f;
    running.total += weight;
    for (uint i = 0; i < VECTORS; i++) {
      running.sum[i] += weight * rows.value_scales[b][i] * CacheRun<T, WIDTH>::floats(rows.values[b][i]);
    }
  }
}

// The row's own key and value: where `writes`, into the cache as row number `row`, and as the first of a softmax.
template <typename T, uint WIDTH, uint VECTORS>
inline void attend_own(thread const vec<float, WIDTH>* key, thread const vec<float, WIDTH>* value, device T* k_cache,
                       device T* v_cache, ulong elements, ulong row, bool writes, uint lane,
                       thread const vec<float, WIDTH>* query, thread Running<WIDTH, VECTORS>& running) {
  typedef CacheRun<T, WIDTH> Run;
  float key_scales[VECTORS];
  float value_scales[VECTORS];
  Run::template make_scales<VECTORS>(key, key_scales);
  Run::template make_scales<VECTORS>(value, value_scales);
  float own = 0.0f;
  for (uint i = 0; i < VECTORS; i++) {
    typename Run::Stored packed_key = Run::packed(key[i], key_scales[i]);
    typename Run::Stored packed_value = Run::packed(value[i], value_scales[i]);
    if (writes) {
      ulong run = (row * VECTORS + i) * 32 + lane;
      ((device typename Run::Stored*)k_cache)[run] = packed_key;
      ((device typename Run::Stored*)v_cache)[run] = packed_value;
      Run::template store_scale<VECTORS>(k_cache, elements, run, key_scales[i]);
      Run::template store_scale<VECTORS>(v_cache, elements, run, value_scales[i]);
    }
    own += dot(query[i], Run::floats(packed_key)) * key_scales[i];
    running.sum[i] = Run::floats(packed_value) * value_scales[i];
  }
  running.best = simd_sum(own);
  running.total = 1.0f;
}

template <typename T, uint WIDTH, uint VECTORS>
[[max_total_threads_per_threadgroup(SIMDGROUPS * 32)]] kernel void rope_attention_split(
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
  threadgroup float best_of[SIMDGROUPS];
  threadgroup float total_of[SIMDGROUPS];
  threadgroup Floats sums[SIMDGROUPS][32 * VECTORS];
  uint head = group.x;
  uint group_heads = args.heads / args.kv_heads;
  uint kv_head = head / group_heads;
  uint position = min(uint(positions[0]), args.capacity - 1);
  uint sequence = min(uint(sequences[0]), args.num_sequences - 1);
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;
  CacheView<T> cache = {k_cache, v_cache, elements, (ulong(sequence) * args.kv_heads + kv_head) * args.capacity};
  uint first_visible = args.window != 0 && position + 1 > args.window ? position + 1 - args.window : 0;
  uint length = (position - first_visible + args.splits - 1) / args.splits;
  uint begin = min(first_visible + group.y * length, position);
  uint end = min(begin + length, position);
  uint last = max(end, 1u) - 1;
  uint p = begin + simdgroup * BATCH;
  CachedRows<T, WIDTH, VECTORS> next;
  load_rows(cache, p, last, lane, next);
  bool takes_own = group.y == 0 && simdgroup == SIMDGROUPS - 1;
  Rotation<WIDTH, VECTORS> rotation;
  load_rotation(frequencies, float(position), lane, rotation);
  Floats query_weight[VECTORS];
  Floats key_weight[VECTORS];
  if (has_head_norm) {
    load_row<WIDTH, VECTORS>(q_weight, lane, query_weight);
    load_row<WIDTH, VECTORS>(k_weight, lane, key_weight);
  }
  wait_for_inputs();

  Floats query[VECTORS];
  load_row<WIDTH, VECTORS>(q + head * head_dim, lane, query);
  Running<WIDTH, VECTORS> running;
  running.best = LOWEST_ATTENTION_SCORE;
  running.total = 0.0f;
  for (uint i = 0; i < VECTORS; i++) {
    running.sum[i] = Floats(0.0f);
  }
  if (takes_own) {
    Floats key[VECTORS];
    Floats value[VECTORS];
    load_row<WIDTH, VECTORS>(k + kv_head * head_dim, lane, key);
    load_row<WIDTH, VECTORS>(v + kv_head * head_dim, lane, value);
    rotate_row<WIDTH, VECTORS>(rotation, query_weight, args.eps, args.scale, query);
    rotate_row<WIDTH, VECTORS>(rotation, key_weight, args.eps, 1.0f, key);
    attend_own<T, WIDTH, VECTORS>(key, value, k_cache, v_cache, elements, cache.first_row + position,
                                  head % group_heads == 0, lane, query, running);
  } else {
    rotate_row<WIDTH, VECTORS>(rotation, query_weight, args.eps, args.scale, query);
  }
  for (; p < end; p += SIMDGROUPS * BATCH) {
    CachedRows<T, WIDTH, VECTORS> rows = next;
    if (p + SIMDGROUPS * BATCH < end) {
      load_rows(cache, p + SIMDGROUPS * BATCH, last, lane, next);
    }
    attend<T, WIDTH, VECTORS>(rows, end - p, query, running);
  }

  if (lane == 0) {
    best_of[simdgroup] = running.best;
    total_of[simdgroup] = running.total;
  }
  for (uint i = 0; i < VECTORS; i++) {
    sums[simdgroup][i * 32 + lane] = running.sum[i];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  // Lane s has the share of simdgroup s.
  float own_best = lane < SIMDGROUPS ? best_of[lane] : LOWEST_ATTENTION_SCORE;
  float overall = simd_max(own_best);
  float share = lane < SIMDGROUPS ? precise::exp(own_best - overall) : 0.0f;
  float part_total = simd_sum(lane < SIMDGROUPS ? total_of[lane] * share : 0.0f);
  uint part = head * args.splits + group.y;
  if (simdgroup * 32 < head_dim) {
    float weighted = 0.0f;
    for (uint s = 0; s < SIMDGROUPS; s++) {
      weighted += ((threadgroup const float*)sums[s])[thread_index] * simd_shuffle(share, s);
    }
    partial[part * head_dim + thread_index] = weighted;
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
INSTANTIATE(int4, Nibbles)
