// rope_attention: rope_cache and attention of one row in one stage, for decode.
//
//   q, y (1, heads, head_dim), k, v (1, kv_heads, head_dim) float32; frequencies (head_dim / 2,) float32, radians a
//   position k_cache, v_cache (num_sequences, kv_heads, capacity, head_dim) of type T (see cache_row.h); positions,
//   sequences (1,) int32
//
// Grid: (heads). Each threadgroup norms and rotates its query and the row's key, and takes the row's own key and value
// from registers; the first head of a group writes them to the cache, so nobody reads what is written in this stage.
// head_dim = PER_LANE * 32 with an even PER_LANE: both elements of a rotated pair are then one lane's.
#include <metal_stdlib>

#include "include/attention_merge.h"
#include "include/cache_row.h"
#include "include/rope_attention_args.h"
using namespace metal;

constant bool has_head_norm [[function_constant(0)]];

constant constexpr uint SIMDGROUPS = 4;

template <uint PER_LANE>
inline void rotate_head(device const float* x, device const float* weight, device const float* frequencies,
                        float position, float eps, uint lane, thread float* out) {
  float squares = 0.0f;
  for (uint i = 0; i < PER_LANE; i++) {
    out[i] = x[lane + i * 32];
    squares += out[i] * out[i];
  }
  if (has_head_norm) {
    float scale = precise::rsqrt(simd_sum(squares) / float(PER_LANE * 32) + eps);
    for (uint i = 0; i < PER_LANE; i++) {
      out[i] *= scale * weight[lane + i * 32];
    }
  }
  for (uint i = 0; i < PER_LANE / 2; i++) {
    float angle = position * frequencies[lane + i * 32];
    float c = precise::cos(angle);
    float s = precise::sin(angle);
    float first = out[i];
    float second = out[i + PER_LANE / 2];
    out[i] = first * c - second * s;
    out[i + PER_LANE / 2] = second * c + first * s;
  }
}

template <typename T, uint PER_LANE>
kernel void rope_attention(constant RopeAttentionArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                           device const float* k [[buffer(2)]], device const float* v [[buffer(3)]],
                           device const float* q_weight [[buffer(4), function_constant(has_head_norm)]],
                           device const float* k_weight [[buffer(5), function_constant(has_head_norm)]],
                           device const float* frequencies [[buffer(6)]], device const int* positions [[buffer(7)]],
                           device const int* sequences [[buffer(8)]], device T* k_cache [[buffer(9)]],
                           device T* v_cache [[buffer(10)]], device float* y [[buffer(11)]],
                           uint head [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                           uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float best[SIMDGROUPS];
  threadgroup float total[SIMDGROUPS];
  threadgroup float partial[SIMDGROUPS][PER_LANE * 32];
  uint head_dim = PER_LANE * 32;
  uint group = args.heads / args.kv_heads;
  uint kv_head = head / group;
  uint position = min(uint(positions[0]), args.capacity - 1);
  uint sequence = min(uint(sequences[0]), args.num_sequences - 1);
  ulong first_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;

  float query[PER_LANE];
  float key[PER_LANE];
  rotate_head<PER_LANE>(q + head * head_dim, q_weight, frequencies, float(position), args.eps, lane, query);
  rotate_head<PER_LANE>(k + kv_head * head_dim, k_weight, frequencies, float(position), args.eps, lane, key);
  device const float* value = v + kv_head * head_dim;
  float sum[PER_LANE];
  float own = 0.0f;
  for (uint i = 0; i < PER_LANE; i++) {
    query[i] *= args.scale;
    sum[i] = 0.0f;
  }
  // The row's own position is the first simdgroup's first.
  if (simdgroup == 0) {
    ulong own_row = first_row + position;
    bool writes = head % group == 0;
    for (uint i = 0; i < PER_LANE; i++) {
      partial[0][lane + i * 32] = key[i];
      partial[1][lane + i * 32] = value[lane + i * 32];
    }
    keep_row(k_cache, elements, head_dim, own_row, writes, lane, partial[0]);
    keep_row(v_cache, elements, head_dim, own_row, writes, lane, partial[1]);
    for (uint i = 0; i < PER_LANE; i++) {
      own += query[i] * partial[0][lane + i * 32];
      sum[i] = partial[1][lane + i * 32];
    }
    own = simd_sum(own);
  }
  // partial[1] is the second simdgroup's from here on.
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float running_max = simdgroup == 0 ? own : LOWEST;
  float running_total = simdgroup == 0 ? 1.0f : 0.0f;
  uint begin = args.window != 0 && position + 1 > args.window ? position + 1 - args.window : 0;
  for (uint p = begin + simdgroup; p < position; p += SIMDGROUPS) {
    float dot = 0.0f;
    for (uint i = 0; i < PER_LANE; i++) {
      dot += query[i] * cached(k_cache, elements, head_dim, first_row + p, lane + i * 32);
    }
    float score = simd_sum(dot) * row_scale(k_cache, elements, first_row + p);
    float new_max = max(running_max, score);
    float shrink = precise::exp(running_max - new_max);
    float weight = precise::exp(score - new_max);
    running_max = new_max;
    running_total = running_total * shrink + weight;
    weight *= row_scale(v_cache, elements, first_row + p);
    for (uint i = 0; i < PER_LANE; i++) {
      sum[i] = sum[i] * shrink + weight * cached(v_cache, elements, head_dim, first_row + p, lane + i * 32);
    }
  }

  if (lane == 0) {
    best[simdgroup] = running_max;
    total[simdgroup] = running_total;
  }
  for (uint i = 0; i < PER_LANE; i++) {
    partial[simdgroup][lane + i * 32] = sum[i];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0) {
    FloatRow output = {y + head * head_dim};
    merge_parts<SIMDGROUPS>(best, total, partial[0], head_dim, head_dim, lane, output);
  }
}

#define INSTANTIATE(name, T)                                                                                          \
  template [[host_name("rope_attention_" #name "_d64")]] kernel decltype(rope_attention<T, 2>) rope_attention<T, 2>;  \
  template [[host_name("rope_attention_" #name "_d128")]] kernel decltype(rope_attention<T, 4>) rope_attention<T, 4>; \
  template [[host_name("rope_attention_" #name "_d256")]] kernel decltype(rope_attention<T, 8>) rope_attention<T, 8>;
INSTANTIATE(f32, float)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
INSTANTIATE(int8, char)
INSTANTIATE(int4, Nibbles)
