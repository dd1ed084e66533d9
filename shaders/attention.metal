// attention: causal scaled dot-product attention over the KV cache, with grouped heads and an optional sliding window.
//
//   q, y (rows, heads, head_dim) float32, y perhaps bfloat, see bfloat_output.h; k_cache, v_cache (num_sequences,
//   kv_heads, capacity, head_dim) of type T, see cache_row.h; row r sees the positions (positions[r] - window,
//   positions[r]] of sequence sequences[r]; window 0 means from the start
//
// Grid: (heads, rows). The simdgroups of a threadgroup take every n-th position with an online softmax each (Milakov
// and Gimelshein 2018) and are merged at the end. PER_LANE = head_dim / 32, rounded up.
#include <metal_stdlib>

#include "include/attention_args.h"
#include "include/attention_merge.h"
#include "include/bfloat_output.h"
#include "include/cache_row.h"
using namespace metal;

constant constexpr uint SIMDGROUPS = 4;

// A row of y, which begins at element `start`.
struct OutputRow {
  device float* y;
  ulong start;
  void write(uint d, float value) const thread { write_output(y, start + d, value); }
};

template <typename T, uint PER_LANE>
kernel void attention(constant AttentionArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
                      device const T* k_cache [[buffer(2)]], device const T* v_cache [[buffer(3)]],
                      device const int* positions [[buffer(4)]], device const int* sequences [[buffer(5)]],
                      device float* y [[buffer(6)]], uint2 group [[threadgroup_position_in_grid]],
                      uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float best[SIMDGROUPS];
  threadgroup float total[SIMDGROUPS];
  threadgroup float partial[SIMDGROUPS][PER_LANE * 32];
  uint head_dim = args.head_dim;
  uint kv_head = group.x / (args.heads / args.kv_heads);
  ulong row_start = (ulong(group.y) * args.heads + group.x) * head_dim;
  uint sequence = min(uint(sequences[group.y]), args.num_sequences - 1);
  ulong first_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * head_dim;

  float query[PER_LANE];
  float sum[PER_LANE];
  for (uint i = 0; i < PER_LANE; i++) {
    uint d = lane + i * 32;
    query[i] = d < head_dim ? q[row_start + d] * args.scale : 0.0f;
    sum[i] = 0.0f;
  }
  uint end = min(uint(positions[group.y]) + 1, args.capacity);
  uint begin = args.window != 0 && end > args.window ? end - args.window : 0;
  float running_max = LOWEST;
  float running_total = 0.0f;
  for (uint p = begin + simdgroup; p < end; p += SIMDGROUPS) {
    float dot = 0.0f;
    for (uint i = 0; i < PER_LANE; i++) {
      uint d = lane + i * 32;
      dot += d < head_dim ? query[i] * cached(k_cache, elements, head_dim, first_row + p, d) : 0.0f;
    }
    float score = simd_sum(dot) * row_scale(k_cache, elements, first_row + p);
    float new_max = max(running_max, score);
    float shrink = precise::exp(running_max - new_max);
    float weight = precise::exp(score - new_max);
    running_max = new_max;
    running_total = running_total * shrink + weight;
    weight *= row_scale(v_cache, elements, first_row + p);
    for (uint i = 0; i < PER_LANE; i++) {
      uint d = lane + i * 32;
      sum[i] = sum[i] * shrink + (d < head_dim ? weight * cached(v_cache, elements, head_dim, first_row + p, d) : 0.0f);
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
    OutputRow output = {y, row_start};
    merge_parts<SIMDGROUPS>(best, total, partial[0], PER_LANE * 32, head_dim, lane, output);
  }
}

#define INSTANTIATE(name, T)                                                                           \
  template [[host_name("attention_" #name "_d32")]] kernel decltype(attention<T, 1>) attention<T, 1>;  \
  template [[host_name("attention_" #name "_d64")]] kernel decltype(attention<T, 2>) attention<T, 2>;  \
  template [[host_name("attention_" #name "_d128")]] kernel decltype(attention<T, 4>) attention<T, 4>; \
  template [[host_name("attention_" #name "_d256")]] kernel decltype(attention<T, 8>) attention<T, 8>;
INSTANTIATE(f32, float)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
INSTANTIATE(int8, char)
INSTANTIATE(int4, Nibbles)
