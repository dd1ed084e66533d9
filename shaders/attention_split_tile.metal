// attention_split_tile: attention_split on matrix units, for caches of 16-bit floats, on devices with many cores.
//
//   Arguments as attention_split's, without blocks and soft cap; partial, bests and totals are its results.
//
// Grid: (kv_heads * sixteens of the query heads that share one, rows, splits), one simdgroup each, whose rows of the
// matrices are query heads: keys and values are read once for all of them, sixteen positions at a time, the next of
// them under way in registers. The first are fetched before the inputs are there, if the rows of this pass, which may
// be of one sequence, write none of them. Queries and weights are rounded to T, sums are float32.
#include "include/attention_range.h"
#include "include/attention_split_args.h"
#include "include/attention_tile.h"
#include "include/early_start.h"
#include "include/rounded.h"

constant uint pass_rows [[function_constant(0)]];  // of which the positions tell what this pass writes

constant constexpr uint HEADS = 16;
constant constexpr uint KEYS = 16;
constant constexpr float LOG2_E = 1.44269504f;
constant constexpr float LN_2 = 0.693147181f;

template <uint HEAD_DIM>
struct Tile {
  enum : uint { STRIDE = HEAD_DIM + 8, VECTORS = HEAD_DIM / 8, FETCHED = KEYS * HEAD_DIM / 8 / 32 };
};

// A lane's part of a tile of keys and values under way.
template <uint HEAD_DIM>
struct FetchedTile {
  uint4 keys[Tile<HEAD_DIM>::FETCHED];
  uint4 values[Tile<HEAD_DIM>::FETCHED];
};

// Positions from `first` on; zeros from `end` on, where the cache may hold anything.
template <typename T, uint HEAD_DIM>
inline void fetch_tile(device const T* keys, device const T* values, uint first, uint end, uint lane,
                       thread FetchedTile<HEAD_DIM>& out) {
  constexpr uint VECTORS = Tile<HEAD_DIM>::VECTORS;
  for (uint i = 0; i < Tile<HEAD_DIM>::FETCHED; i++) {
    uint index = lane + i * 32;
    ulong place = ulong(first) * VECTORS + index;
    bool is_there = first + index / VECTORS < end;
    out.keys[i] = is_there ? ((device const uint4*)keys)[place] : uint4(0);
    out.values[i] = is_there ? ((device const uint4*)values)[place] : uint4(0);
  }
}

template <typename T, uint HEAD_DIM>
inline void keep_tile(thread const FetchedTile<HEAD_DIM>& fetched, uint lane, threadgroup T* keys,
                      threadgroup T* values) {
  constexpr uint VECTORS = Tile<HEAD_DIM>::VECTORS;
  for (uint i = 0; i < Tile<HEAD_DIM>::FETCHED; i++) {
    uint index = lane + i * 32;
    uint place = index / VECTORS * (VECTORS + 1) + index % VECTORS;
    ((threadgroup uint4*)keys)[place] = fetched.keys[i];
    ((threadgroup uint4*)values)[place] = fetched.values[i];
  }
}

// The heads' queries, scaled and rounded, through threadgroup memory. Heads beyond the last repeat it.
template <typename T, uint HEAD_DIM>
inline void load_queries(device const float* q, uint heads, float scale, threadgroup T* staged, uint lane,
                         thread LeftMatrix<T>* queries) {
  constexpr uint STRIDE = Tile<HEAD_DIM>::STRIDE;
  for (uint i = lane; i < HEADS * HEAD_DIM / 4; i += 32) {
    uint head = i / (HEAD_DIM / 4);
    uint four = i % (HEAD_DIM / 4);
    float4 values = ((device const float4*)(q + min(head, heads - 1) * HEAD_DIM))[four] * scale;
    *(threadgroup vec<T, 4>*)(staged + head * STRIDE + four * 4) = rounded<T>(values);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  for (uint k = 0; k < HEAD_DIM / 16; k++) {
    load_left(queries[k], staged + k * 16, STRIDE);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}

// The first position that this pass may write in any of its sequences.
inline uint first_written(device const int* positions, uint lane) {
  return simd_min(uint(positions[min(lane, pass_rows - 1)]));
}

// What the threadgroup's simdgroup walks: positions [begin, end) of one sequence and key head.
template <typename T>
struct Span {
  device const T* keys;
  device const T* values;
  uint begin;
  uint end;
};

template <typename T, uint HEAD_DIM>
inline void walk(thread const Span<T>& span, thread const LeftMatrix<T>* queries, threadgroup T* tile,
                 threadgroup float* scratch, uint lane, thread FetchedTile<HEAD_DIM>& fetched, thread TileRow& row,
                 thread SumMatrix* sums) {
  constexpr uint STRIDE = Tile<HEAD_DIM>::STRIDE;
  threadgroup T* value_tile = tile + KEYS * STRIDE;
  for (uint first = span.begin; first < span.end; first += KEYS) {
    keep_tile<T, HEAD_DIM>(fetched, lane, tile, value_tile);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    if (first + KEYS < span.end) {
      fetch_tile<T, HEAD_DIM>(span.keys, span.values, first + KEYS, span.end, lane, fetched);
    }
    SumMatrix scores[1];
    fill_zero(scores[0]);
    for (uint k = 0; k < HEAD_DIM / 16; k++) {
      RightMatrix<T> right;
      load_right_transposed(right, tile + k * 16, STRIDE);
      multiply_accumulate(scores[0], queries[k], right);
    }
    LeftMatrix<T> weights[1];
    weigh<T, 1, HEAD_DIM / 16>(scores, first, first + KEYS <= span.end, row, weights, sums, scratch, lane);
    for (uint i = 0; i < HEAD_DIM / 16; i++) {
      RightMatrix<T> right;
      load_right(right, value_tile + i * 16, STRIDE);
      multiply_accumulate(sums[i], weights[0], right);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

template <typename T, uint HEAD_DIM>
[[max_total_threads_per_threadgroup(32)]] kernel void attention_split_tile(
    constant AttentionSplitTileArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
    device const T* k_cache [[buffer(2)]], device const T* v_cache [[buffer(3)]],
    device const int* positions [[buffer(4)]], device const int* sequences [[buffer(5)]],
    device float* partial [[buffer(6)]], device float* bests [[buffer(7)]], device float* totals [[buffer(8)]],
    uint3 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]]) {
  threadgroup uint4 memory[2 * KEYS * Tile<HEAD_DIM>::STRIDE / 8];
  threadgroup float scratch[TileScratch<1>::SIZE];
  threadgroup uint2 visible[HEADS];
  threadgroup T* tile = (threadgroup T*)memory;
  uint group_heads = args.heads / args.kv_heads;
  uint sixteens = (group_heads + HEADS - 1) / HEADS;
  uint kv_head = group.x / sixteens;
  uint first_head = kv_head * group_heads + group.x % sixteens * HEADS;
  uint heads = min(HEADS, (kv_head + 1) * group_heads - first_head);
  uint sequence = min(uint(sequences[group.y]), args.num_sequences - 1);
  ulong cache_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
  uint2 range = visible_range(uint(positions[group.y]), args.window, args.capacity, int2(0));
  uint length = ((range.y - range.x + args.splits - 1) / args.splits + KEYS - 1) / KEYS * KEYS;
  uint begin = min(range.x + group.z * length, range.y);
  Span<T> span = {k_cache + cache_row * HEAD_DIM, v_cache + cache_row * HEAD_DIM, begin, min(begin + length, range.y)};
  FetchedTile<HEAD_DIM> fetched;
  bool is_ahead = min(begin + KEYS, span.end) <= first_written(positions, lane);
  if (is_ahead) {
    fetch_tile<T, HEAD_DIM>(span.keys, span.values, begin, span.end, lane, fetched);
  }
  wait_for_inputs();
  if (!is_ahead) {
    fetch_tile<T, HEAD_DIM>(span.keys, span.values, begin, span.end, lane, fetched);
  }

  LeftMatrix<T> queries[HEAD_DIM / 16];
  load_queries<T, HEAD_DIM>(q + (ulong(group.y) * args.heads + first_head) * HEAD_DIM, heads, args.scale * LOG2_E, tile,
                            lane, queries);
  if (lane < HEADS) {
    visible[lane] = uint2(span.begin, span.end);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  TileRow row;
  begin_rows(row, visible, lane);
  SumMatrix sums[HEAD_DIM / 16];
  for (uint i = 0; i < HEAD_DIM / 16; i++) {
    fill_zero(sums[i]);
  }
  walk<T, HEAD_DIM>(span, queries, tile, scratch, lane, fetched, row, sums);

  // The tile's memory takes sixteen columns of the sums at a time, then the rows' states.
  threadgroup float* out = (threadgroup float*)memory;
  ulong first_part = (ulong(group.y) * args.heads + first_head) * args.splits + group.z;
  for (uint i = 0; i < HEAD_DIM / 16; i++) {
    store_sum(sums[i], out, 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint j = lane; j < heads * 16; j += 32) {
      partial[(first_part + j / 16 * args.splits) * HEAD_DIM + i * 16 + j % 16] = out[j];
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
  store_states(row, out, lane);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  if (lane < heads) {
    bool is_empty = span.begin >= span.end;
    bests[first_part + lane * args.splits] = is_empty ? LOWEST_ATTENTION_SCORE : out[lane] * LN_2;
    totals[first_part + lane * args.splits] = out[HEADS + lane];
  }
}

#define INSTANTIATE_HEAD(host, T, HEAD_DIM) \
  template [[host_name(host)]] kernel decltype(attention_split_tile<T, HEAD_DIM>) attention_split_tile<T, HEAD_DIM>;
#define INSTANTIATE(name, T)                                    \
  INSTANTIATE_HEAD("attention_split_tile_" #name "_d64", T, 64) \
  INSTANTIATE_HEAD("attention_split_tile_" #name "_d128", T, 128)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
