// combine_matmul: attention_combine of one row, then its product with the output projection, in tiles of 16 outputs.
//
//   partial (heads, splits, head_dim), bests and totals (heads, splits) float32, see attention_split; W (outputs,
//   heads * head_dim) of a format with tiles; y (outputs,) float32. At most 16 splits, 512 parts and 7168 columns.
//
// Grid: (tiles of outputs), as matmul_vector_tile's. Every threadgroup combines the whole row.
#include "include/attention_split_args.h"
#include "include/matmul_args.h"
#include "include/row_tile_sums.h"

constant uint combined_splits [[function_constant(3)]];
constant uint combined_head_dim [[function_constant(4)]];

constant constexpr uint MAX_SPLITS = 16;
constant constexpr uint MAX_PARTS = 512;

// What the parts have for columns 4 * index and on.
struct Parts {
  float4 fours[MAX_SPLITS];
};

inline void load_parts(device const float* partial, uint index, thread Parts& parts) {
  uint head = index * 4 / combined_head_dim;
  uint element = index * 4 % combined_head_dim;
  for (uint s = 0; s < MAX_SPLITS && s < combined_splits; s++) {
    ulong part = ulong(head) * combined_splits + s;
    bool is_there = index * 4 < tile_columns;
    parts.fours[s] = is_there ? *(device const float4*)(partial + part * combined_head_dim + element) : float4(0.0f);
  }
}

inline float4 sum_parts(thread const Parts& parts, uint index, threadgroup const float* shares) {
  uint first = index * 4 < tile_columns ? index * 4 / combined_head_dim * combined_splits : 0;
  float4 sum = float4(0.0f);
  for (uint s = 0; s < MAX_SPLITS && s < combined_splits; s++) {
    sum += parts.fours[s] * shares[first + s];
  }
  return sum;
}

// The share that each part has of its head's softmax.
inline void find_shares(device const float* bests, device const float* totals, thread const TilePlace& place,
                        threadgroup float* shares) {
  uint heads = tile_columns / combined_head_dim;
  for (uint head = place.simdgroup; head < heads; head += tile_simdgroups) {
    bool is_part = place.lane < combined_splits;
    uint part = head * combined_splits + place.lane;
    float best = is_part ? bests[part] : LOWEST_ATTENTION_SCORE;
    float total = is_part ? totals[part] : 0.0f;
    float row_best = simd_max(best);
    float weight = is_part ? precise::exp(best - row_best) : 0.0f;
    float denominator = simd_sum(total * weight);
    if (is_part) {
      shares[part] = weight / denominator;
    }
  }
}

template <typename Format, uint DEPTH>
[[max_total_threads_per_threadgroup(MAX_TILE_THREADS)]] kernel void combine_matmul(
    constant MatmulVectorTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* partial [[buffer(2)]], device const float* bests [[buffer(3)]],
    device const float* totals [[buffer(4)]], device float* y [[buffer(5)]],
    uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
    uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  ROW_TILE_MEMORY(1);
  threadgroup float shares[MAX_PARTS];
  TilePlace place = tile_place(group, lane, simdgroup);
  Weights weights = {weight, args.planes};
  TileStep<Format, 1> ahead[DEPTH];
  fetch_first_steps<Format, 1, DEPTH>(&weights, args.outputs, place, ahead);
  wait_for_inputs();
  uint threads = tile_simdgroups * 32;
  uint whole = TILE_STEPS * STEP_COLUMNS / 4;
  Parts parts;
  load_parts(partial, simdgroup * 32 + lane, parts);
  find_shares(bests, totals, place, shares);
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint index = simdgroup * 32 + lane; index < whole; index += threads) {
    stage_four<Format>(sum_parts(parts, index, shares), index, lane, staged, sums);
    load_parts(partial, index + threads, parts);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float2 products[1] = {float2(0.0f)};
  uint step = place.part;
  accumulate_steps<Format, 1, DEPTH>(&weights, args.outputs, place, 0, TILE_STEPS, step, ahead, staged, sums, products);
  float total = gather_tile<1>(products, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < TILE_OUTPUTS && output < args.outputs) {
    y[output] = total;
  }
}

#define INSTANTIATE_DEPTH(host, Format, DEPTH) \
  template [[host_name(host)]] kernel decltype(combine_matmul<Format, DEPTH>) combine_matmul<Format, DEPTH>;
#define INSTANTIATE(name, Format)                             \
  INSTANTIATE_DEPTH("combine_matmul_" #name "_d1", Format, 1) \
  INSTANTIATE_DEPTH("combine_matmul_" #name "_d4", Format, 4)
FOR_EACH_TILE_FORMAT(INSTANTIATE)
