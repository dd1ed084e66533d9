// attention_tile: attention of many rows on matrix units, with every variant, on devices with many cores.
//
//   q (rows, heads, HEAD_DIM) float32, y alike or bfloat, see bfloat_output.h; k_cache, v_cache (num_sequences,
//   kv_heads, capacity, HEAD_DIM) of type C, see cache_eight.h; row r sees the positions (positions[r] - window,
//   positions[r]] of sequence sequences[r], window 0: from the start, and those of its block, see attention_range.h
//   blocks (rows, 2) int32, sinks (heads,) float32, log_sum_exp (rows, heads) float32: each may be left out
//
// Grid: (heads, tiles of 64 rows). A simdgroup has 16 rows; all of them walk the positions that any row sees, a tile at
// a time. The threadgroup brings a tile of values into its memory while the keys' scores are computed, and the next
// keys while values are added. Queries and weights are rounded to the operands' type T, sums are float32. Rows of
// several sequences in a tile are taken one run of equal sequences after the other. Values that a row does not see are
// multiplied by zero: one that is not finite spoils the rows of its tile before it too.
#include <metal_stdlib>

#include "include/attention_args.h"
#include "include/attention_range.h"
#include "include/attention_tile.h"
#include "include/bfloat_output.h"
#include "include/cache_eight.h"
#include "include/rounded.h"
using namespace metal;

constant bool has_blocks [[function_constant(0)]];
constant bool has_sinks [[function_constant(1)]];
constant bool has_soft_cap [[function_constant(2)]];
constant bool keeps_log_sum_exp [[function_constant(3)]];

constant constexpr uint TILE_ROWS = 64;
constant constexpr uint SIMDGROUP_ROWS = 16;
constant constexpr uint TILE_THREADS = 128;
constant constexpr uint QUERY_COLUMNS = 64;  // that are staged at a time
constant constexpr float LOG2_E = 1.44269504f;
constant constexpr float LN_2 = 0.693147181f;
constant constexpr uint QUERY_STRIDE = QUERY_COLUMNS + 8;

// A thread's part of the tile under way, where it is not copied directly.
template <uint HEAD_DIM>
struct FetchedTile {
  enum : uint { COUNT = (TileShape<HEAD_DIM>::KEYS * TileShape<HEAD_DIM>::VECTORS + TILE_THREADS - 1) / TILE_THREADS };
  uint4 vectors[COUNT];
};

// Rows [start, stop) of a tile, which have one sequence, and what any of them sees: [begin, end).
struct Run {
  uint start;
  uint stop;
  uint begin;
  uint end;
};

// A sequence's keys and values of one head: rows `first_row` and on of the caches, which hold `elements` each.
template <typename C>
struct CacheRows {
  device const C* keys;
  device const C* values;
  ulong elements;
  ulong first_row;
};

// Starts to bring positions from `first` on, of `keys_or_values`, whose tile nobody reads any more; zeros from `end`
// on, where the cache may hold anything.
template <typename C, uint HEAD_DIM>
inline void begin_tile(thread const CacheRows<C>& cache, device const C* keys_or_values, uint first, uint end,
                       uint thread_index, threadgroup uint4* tile, thread FetchedTile<HEAD_DIM>& fetched) {
  typedef TileShape<HEAD_DIM> Shape;
#pragma unroll
  for (uint i = 0; i < FetchedTile<HEAD_DIM>::COUNT; i++) {
    uint index = thread_index + i * TILE_THREADS;
    uint key = index / Shape::VECTORS;
    ulong eight = (cache.first_row + first) * Shape::VECTORS + index;
    bool is_there = first + key < end;
    if (TileCopy<C>::IS_DIRECT == 0) {
      fetched.vectors[i] = is_there ? CacheEight<C>::load(keys_or_values, cache.elements, eight, HEAD_DIM) : uint4(0);
    } else if (key < Shape::KEYS) {
      copy_to_tile(tile + Shape::place(key, index % Shape::VECTORS), (device const uint4*)keys_or_values + eight,
                   is_there);
    }
  }
}

// The tile is there once all threads have come to the barrier that follows.
template <typename C, uint HEAD_DIM>
inline void end_tile(thread const FetchedTile<HEAD_DIM>& fetched, uint thread_index, threadgroup uint4* tile) {
  typedef TileShape<HEAD_DIM> Shape;
#pragma unroll
  for (uint i = 0; i < FetchedTile<HEAD_DIM>::COUNT; i++) {
    uint index = thread_index + i * TILE_THREADS;
    uint key = index / Shape::VECTORS;
    if (TileCopy<C>::IS_DIRECT == 0 && key < Shape::KEYS) {
      tile[Shape::place(key, index % Shape::VECTORS)] = CacheEight<C>::operands(fetched.vectors[i]);
    }
  }
  finish_tile();
}

// A simdgroup's queries, scaled and rounded, through its own part of threadgroup memory. Rows beyond the last repeat
// it.
template <typename T, uint HEAD_DIM>
inline void load_queries(constant AttentionTileArgs& args, device const float* q, uint first_row, float scale,
                         threadgroup T* staged, uint lane, thread LeftMatrix<T>* queries) {
#pragma unroll
  for (uint column = 0; column < HEAD_DIM; column += QUERY_COLUMNS) {
    const uint columns = HEAD_DIM - column < QUERY_COLUMNS ? HEAD_DIM - column : QUERY_COLUMNS;
    for (uint i = lane; i < SIMDGROUP_ROWS * columns / 4; i += 32) {
      uint row = i / (columns / 4);
      uint four = i % (columns / 4);
      device const float* source = q + ulong(min(first_row + row, args.rows - 1)) * args.heads * HEAD_DIM;
      float4 values = ((device const float4*)(source + column))[four] * scale;
      *(threadgroup vec<T, 4>*)(staged + row * QUERY_STRIDE + four * 4) = rounded<T>(values);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
#pragma unroll
    for (uint k = 0; k < columns; k += 16) {
      load_left(queries[(column + k) / 16], staged + k, QUERY_STRIDE);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

inline uint sequence_of(constant AttentionTileArgs& args, device const int* sequences, uint row) {
  return min(uint(sequences[row]), args.num_sequences - 1);
}

// The run that begins with row `start` of the tile; writes what each row of the tile sees, nothing for other rows.
inline Run find_run(constant AttentionTileArgs& args, device const int* positions, device const int* sequences,
                    device const int2* blocks, uint first_row, uint start, uint lane, uint simdgroup,
                    threadgroup uint2* visible) {
  uint count = min(TILE_ROWS, args.rows - first_row);
  uint sequence = sequence_of(args, sequences, first_row + start);
  uint differs = count;
  Run run = {start, count, 0xFFFFFFFF, 0};
  for (uint row = lane; row < count; row += 32) {
    if (row > start && sequence_of(args, sequences, first_row + row) != sequence) {
      differs = min(differs, row);
    }
  }
  run.stop = simd_min(differs);
  for (uint row = lane; row < TILE_ROWS; row += 32) {
    uint2 range = uint2(0);
    if (row >= start && row < run.stop) {
      int2 block = has_blocks ? blocks[first_row + row] : int2(0);
      range = visible_range(uint(positions[first_row + row]), args.window, args.capacity, block);
      run.begin = min(run.begin, range.x);
      run.end = max(run.end, range.y);
    }
    if (row / SIMDGROUP_ROWS == simdgroup) {
      visible[row] = range;
    }
  }
  run.begin = simd_min(run.begin);
  run.end = simd_max(run.end);
  return run;
}

// What happens to scores besides: a sink, LOWEST_TILE_SCORE for none, and a cap; both as logarithms to base two.
struct Scoring {
  float sink;
  float cap;
};

// The sums of a simdgroup's sixteen rows over what they see, and the rows' state.
template <typename C, typename T, uint HEAD_DIM>
inline void walk(thread const Run& run, thread const CacheRows<C>& cache, thread const Scoring& scoring,
                 thread LeftMatrix<T>* queries, threadgroup const uint2* visible, threadgroup uint4* key_tile,
                 threadgroup float* scratch, uint thread_index, uint lane, thread TileRow& row,
                 thread SumMatrix* sums) {
  typedef TileShape<HEAD_DIM> Shape;
  typedef typename Shape::Way Way;
  constexpr uint KEYS = Shape::KEYS;
  threadgroup uint4* value_tile = key_tile + Shape::SIZE;
  begin_rows(row, visible, lane);
  if (has_sinks) {
    add_sink(row, scoring.sink, lane);
  }
  uint2 own = visible[lane % SIMDGROUP_ROWS];
  bool is_empty = own.x >= own.y;
  uint first_seen = simd_min(is_empty ? 0xFFFFFFFF : own.x);
  uint last_seen = simd_max(own.y);
  uint all_seen_from = simd_max(own.x);
  uint all_seen_to = simd_min(own.y);
#pragma unroll
  for (uint i = 0; i < HEAD_DIM / 16; i++) {
    fill_zero(sums[i]);
  }
  FetchedTile<HEAD_DIM> fetched;
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (run.begin < run.end) {
    begin_tile<C, HEAD_DIM>(cache, cache.keys, run.begin, run.end, thread_index, key_tile, fetched);
  }
  for (uint first = run.begin; first < run.end; first += KEYS) {
    end_tile<C, HEAD_DIM>(fetched, thread_index, key_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    begin_tile<C, HEAD_DIM>(cache, cache.values, first, run.end, thread_index, value_tile, fetched);
    bool is_seen = Way::LEAVES_OUT_TILES == 0 || (first < last_seen && first + KEYS > first_seen);
    LeftMatrix<T> weights[KEYS / 16];
    if (is_seen) {
      SumMatrix scores[KEYS / 16];
      multiply_keys<T, HEAD_DIM>(Way(), queries, key_tile, scores);
      if (has_soft_cap) {
        cap_scores<KEYS / 16>(scores, scoring.cap);
      }
      bool is_whole = first >= all_seen_from && first + KEYS <= all_seen_to;
      weigh<T, KEYS / 16, HEAD_DIM / 16>(scores, first, is_whole, row, weights, sums, scratch, lane);
    }
    end_tile<C, HEAD_DIM>(fetched, thread_index, value_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (first + KEYS < run.end) {
      begin_tile<C, HEAD_DIM>(cache, cache.keys, first + KEYS, run.end, thread_index, key_tile, fetched);
    }
    if (is_seen) {
      add_values<T, HEAD_DIM>(Way(), weights, value_tile, sums);
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
}

// Which tile of which head, and where in the threadgroup.
struct TilePlace {
  uint head;
  uint tile;
  uint tiles;
  uint lane;
  uint simdgroup;
};

// The kernel's buffers.
template <typename C>
struct AttentionBuffers {
  device const float* q;
  device const C* k_cache;
  device const C* v_cache;
  device const int* positions;
  device const int* sequences;
  device const int2* blocks;
  device const float* sinks;
  device float* y;
  device float* log_sum_exp;
};

// Writes what became of a run's rows.
template <typename T, uint HEAD_DIM>
inline void write_rows(constant AttentionTileArgs& args, thread const Run& run, thread const TilePlace& place,
                       uint first_row, thread const TileRow& row, thread const SumMatrix* sums,
                       threadgroup float* scratch, threadgroup float* sum, device float* y, device float* log_sum_exp) {
  uint lane = place.lane;
  store_inverse_totals(row, scratch, lane);
  if (keeps_log_sum_exp) {
    store_states(row, scratch + 16, lane);
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  float scale = scratch[lane / 2];
  uint own = place.simdgroup * SIMDGROUP_ROWS + lane / 2;
  bool is_written = own >= run.start && own < run.stop;
  ulong head = ulong(first_row + own) * args.heads + place.head;
  if (keeps_log_sum_exp && is_written && lane % 2 == 0) {
    log_sum_exp[head] = (scratch[16 + lane / 2] + log2(scratch[32 + lane / 2])) * LN_2;
  }
  ulong target = head * HEAD_DIM + lane % 2 * 8;
#pragma unroll
  for (uint i = 0; i < HEAD_DIM / 16; i++) {
    store_sum(sums[i], sum, 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    threadgroup const float4* values = (threadgroup const float4*)(sum + lane * 8);
    if (is_written) {
      write_four(y, target + i * 16, values[0] * scale);
      write_four(y, target + i * 16 + 4, values[1] * scale);
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

template <typename C, uint HEAD_DIM>
inline void attend(constant AttentionTileArgs& args, thread const AttentionBuffers<C>& buffers,
                   thread const TilePlace& place, threadgroup uint4* memory, threadgroup float* scratch,
                   threadgroup uint2* visible) {
  typedef typename CacheEight<C>::Operand T;
  constexpr uint SCRATCH = TileScratch<TileShape<HEAD_DIM>::KEYS / 16>::SIZE;
  uint lane = place.lane;
  uint simdgroup = place.simdgroup;
  threadgroup float* own_scratch = scratch + simdgroup * SCRATCH;
  threadgroup uint2* own_visible = visible + simdgroup * SIMDGROUP_ROWS;
  // The last rows see most, so they come first.
  uint first_row = (place.tiles - 1 - place.tile) * TILE_ROWS;
  uint own_row = first_row + simdgroup * SIMDGROUP_ROWS;
  uint kv_head = place.head / (args.heads / args.kv_heads);
  Scoring scoring = {has_sinks ? buffers.sinks[place.head] * LOG2_E : LOWEST_TILE_SCORE, args.soft_cap * LOG2_E};
  ulong elements = ulong(args.num_sequences) * args.kv_heads * args.capacity * HEAD_DIM;
  LeftMatrix<T> queries[HEAD_DIM / 16];
  load_queries<T, HEAD_DIM>(args, buffers.q + place.head * HEAD_DIM, own_row, args.scale * LOG2_E,
                            (threadgroup T*)memory + simdgroup * SIMDGROUP_ROWS * QUERY_STRIDE, lane, queries);
  uint count = min(TILE_ROWS, args.rows - first_row);
  for (uint start = 0; start < count;) {
    Run run = find_run(args, buffers.positions, buffers.sequences, buffers.blocks, first_row, start, lane, simdgroup,
                       visible);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    uint sequence = sequence_of(args, buffers.sequences, first_row + start);
    ulong cache_row = (ulong(sequence) * args.kv_heads + kv_head) * args.capacity;
    CacheRows<C> cache = {buffers.k_cache, buffers.v_cache, elements, cache_row};
    TileRow row;
    SumMatrix sums[HEAD_DIM / 16];
    walk<C, T, HEAD_DIM>(run, cache, scoring, queries, own_visible, memory, own_scratch, simdgroup * 32 + lane, lane,
                         row, sums);
    write_rows<T, HEAD_DIM>(args, run, place, first_row, row, sums, own_scratch,
                            (threadgroup float*)memory + simdgroup * 256, buffers.y, buffers.log_sum_exp);
    start = run.stop;
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
}

template <typename C, uint HEAD_DIM>
[[max_total_threads_per_threadgroup(TILE_THREADS)]] kernel void attention_tile(
    constant AttentionTileArgs& args [[buffer(0)]], device const float* q [[buffer(1)]],
    device const C* k_cache [[buffer(2)]], device const C* v_cache [[buffer(3)]],
    device const int* positions [[buffer(4)]], device const int* sequences [[buffer(5)]], device float* y [[buffer(6)]],
    device const int2* blocks [[buffer(7), function_constant(has_blocks)]],
    device const float* sinks [[buffer(8), function_constant(has_sinks)]],
    device float* log_sum_exp [[buffer(9), function_constant(keeps_log_sum_exp)]],
    uint2 group [[threadgroup_position_in_grid]], uint2 groups [[threadgroups_per_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup uint4 memory[2 * TileShape<HEAD_DIM>::SIZE + TileShape<HEAD_DIM>::ALIGNMENT];
  threadgroup float scratch[TILE_ROWS / SIMDGROUP_ROWS * TileScratch<TileShape<HEAD_DIM>::KEYS / 16>::SIZE];
  threadgroup uint2 visible[TILE_ROWS];
  TilePlace place = {group.x, group.y, groups.y, lane, simdgroup};
  AttentionBuffers<C> buffers = {q, k_cache, v_cache, positions, sequences, blocks, sinks, y, log_sum_exp};
  attend<C, HEAD_DIM>(args, buffers, place, first_tile(typename TileShape<HEAD_DIM>::Way(), memory), scratch, visible);
}

#define INSTANTIATE_HEAD(host, C, HEAD_DIM) \
  template [[host_name(host)]] kernel decltype(attention_tile<C, HEAD_DIM>) attention_tile<C, HEAD_DIM>;
#define INSTANTIATE(name, C)                                \
  INSTANTIATE_HEAD("attention_tile_" #name "_d64", C, 64)   \
  INSTANTIATE_HEAD("attention_tile_" #name "_d80", C, 80)   \
  INSTANTIATE_HEAD("attention_tile_" #name "_d96", C, 96)   \
  INSTANTIATE_HEAD("attention_tile_" #name "_d128", C, 128) \
  INSTANTIATE_HEAD("attention_tile_" #name "_d192", C, 192) \
  INSTANTIATE_HEAD("attention_tile_" #name "_d256", C, 256)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)
INSTANTIATE(int8, char)
INSTANTIATE(int4, Nibbles)
