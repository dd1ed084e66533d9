// rope_cache: what happens to Q, K and V between their projections and attention, in one kernel.
//
//   Q and K heads: optional RMSNorm over the head, then rotary embedding of the head's first rotary_dim elements, Su et
//   al. 2021. Q goes to `q_out`; K and V go to the caches at their row's sequence and position.
//
//   q, q_out (rows, heads, head_dim), k, v (rows, kv_heads, head_dim) float32
//   frequencies (rotary_dim / 2,) float32: radians a position
//   k_cache, v_cache (num_sequences, kv_heads, capacity, head_dim) of type T, see cache_row.h
//
// Grid: (heads + 2 kv_heads, rows), a simdgroup each; the simdgroups of a threadgroup have neighbouring heads.
#include <metal_stdlib>

#include "include/cache_row.h"
#include "include/rope_cache_args.h"
using namespace metal;

constant bool has_head_norm [[function_constant(0)]];
constant bool is_interleaved [[function_constant(1)]];

constant constexpr uint MAX_HEAD_DIM = 512;
constant constexpr uint MOST_SIMDGROUPS = 8;

// Elements of a head that rotate together: i and i + rotary_dim / 2, or 2i and 2i + 1.
inline uint2 pair_of(uint i, uint half_dim) {
  return is_interleaved ? uint2(2 * i, 2 * i + 1) : uint2(i, i + half_dim);
}

inline float head_scale(device const float* x, uint head_dim, float eps, uint lane) {
  float sum = 0.0f;
  for (uint i = lane; i < head_dim; i += 32) {
    sum += x[i] * x[i];
  }
  return precise::rsqrt(simd_sum(sum) / float(head_dim) + eps);
}

// A pair of a head, normed and rotated.
inline float2 rotated(device const float* x, device const float* weight, uint2 at, float scale, float angle) {
  float first = x[at.x] * scale;
  float second = x[at.y] * scale;
  if (has_head_norm) {
    first *= weight[at.x];
    second *= weight[at.y];
  }
  float c = precise::cos(angle);
  float s = precise::sin(angle);
  return float2(first * c - second * s, second * c + first * s);
}

// An element that does not rotate.
inline float kept(device const float* x, device const float* weight, uint at, float scale) {
  return has_head_norm ? x[at] * scale * weight[at] : x[at] * scale;
}

template <typename T>
kernel void rope_cache(constant RopeCacheArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                       device const float* k [[buffer(2)]], device const float* v [[buffer(3)]],
                       device const float* q_weight [[buffer(4), function_constant(has_head_norm)]],
                       device const float* k_weight [[buffer(5), function_constant(has_head_norm)]],
                       device const float* frequencies [[buffer(6)]], device const int* positions [[buffer(7)]],
                       device const int* sequences [[buffer(8)]], device float* q_out [[buffer(9)]],
                       device T* k_cache [[buffer(10)]], device T* v_cache [[buffer(11)]],
                       uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                       uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float rows[MOST_SIMDGROUPS][MAX_HEAD_DIM];
  threadgroup float* staged = rows[simdgroup];
  uint head = group.x * simdgroups + simdgroup;
  uint row = group.y;
  if (head >= args.heads + 2 * args.kv_heads) {
    return;
  }
  uint head_dim = min(args.head_dim, MAX_HEAD_DIM);
  uint position = min(uint(positions[row]), args.capacity - 1);
  uint first_head = min(uint(sequences[row]), args.num_sequences - 1) * args.kv_heads;  // of the caches
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;
  if (head >= args.heads + args.kv_heads) {
    uint kv_head = head - args.heads - args.kv_heads;
    device const float* source = v + (ulong(row) * args.kv_heads + kv_head) * head_dim;
    for (uint i = lane; i < head_dim; i += 32) {
      staged[i] = source[i];
    }
    keep_row(v_cache, elements, head_dim, ulong(first_head + kv_head) * args.capacity + position, true, lane, staged);
    return;
  }
  bool is_query = head < args.heads;
  uint kv_head = is_query ? 0 : head - args.heads;
  device const float* source = is_query ? q + (ulong(row) * args.heads + head) * head_dim
                                        : k + (ulong(row) * args.kv_heads + kv_head) * head_dim;
  float scale = has_head_norm ? head_scale(source, head_dim, args.eps, lane) : 1.0f;
  device const float* weight = is_query ? q_weight : k_weight;
  uint half_dim = args.rotary_dim / 2;
  device float* query = q_out + (ulong(row) * args.heads + head) * head_dim;
  for (uint i = lane; i < half_dim; i += 32) {
    uint2 at = pair_of(i, half_dim);
    float2 pair = rotated(source, weight, at, scale, float(position) * frequencies[i]);
    if (is_query) {
      query[at.x] = pair.x;
      query[at.y] = pair.y;
    } else {
      staged[at.x] = pair.x;
      staged[at.y] = pair.y;
    }
  }
  for (uint i = args.rotary_dim + lane; i < head_dim; i += 32) {
    if (is_query) {
      query[i] = kept(source, weight, i, scale);
    } else {
      staged[i] = kept(source, weight, i, scale);
    }
  }
  if (!is_query) {
    keep_row(k_cache, elements, head_dim, ulong(first_head + kv_head) * args.capacity + position, true, lane, staged);
  }
}

template [[host_name("rope_cache_f32")]] kernel decltype(rope_cache<float>) rope_cache<float>;
template [[host_name("rope_cache_f16")]] kernel decltype(rope_cache<half>) rope_cache<half>;
template [[host_name("rope_cache_bf16")]] kernel decltype(rope_cache<bfloat>) rope_cache<bfloat>;
template [[host_name("rope_cache_int8")]] kernel decltype(rope_cache<char>) rope_cache<char>;
template [[host_name("rope_cache_int4")]] kernel decltype(rope_cache<Nibbles>) rope_cache<Nibbles>;
