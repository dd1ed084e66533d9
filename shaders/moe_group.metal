// moe_group: the pairs of token and expert sorted by expert, cut into tiles that share one expert's weights.
//
//   experts (pairs,) int32 -> order (pairs,) int32, pairs by expert and then by number; tiles (max_tiles) of MoeTile
//
// One threadgroup; a thread handles an expert. max_tiles is what the worst case needs; the tiles left over are empty.
#include <metal_stdlib>

#include "include/moe_args.h"
using namespace metal;

struct MoeGroupArgs {
  uint pairs;
  uint num_experts;
  uint max_tiles;
  uint tile_pairs;  // at most so many pairs are a tile
};

constant constexpr uint MAX_EXPERTS = 1024;

kernel void moe_group(constant MoeGroupArgs& args [[buffer(0)]], device const int* experts [[buffer(1)]],
                      device int* order [[buffer(2)]], device MoeTile* tiles [[buffer(3)]],
                      uint thread_index [[thread_index_in_threadgroup]], uint threads [[threads_per_threadgroup]]) {
  threadgroup uint counts[MAX_EXPERTS];
  for (uint expert = thread_index; expert < args.num_experts; expert += threads) {
    uint count = 0;
    for (uint pair = 0; pair < args.pairs; pair++) {
      count += uint(experts[pair]) == expert ? 1 : 0;
    }
    counts[expert] = count;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  for (uint expert = thread_index; expert < args.num_experts; expert += threads) {
    uint begin = 0;
    uint tile = 0;
    for (uint earlier = 0; earlier < expert; earlier++) {
      begin += counts[earlier];
      tile += (counts[earlier] + args.tile_pairs - 1) / args.tile_pairs;
    }
    uint end = begin + counts[expert];
    uint next = begin;
    for (uint pair = 0; pair < args.pairs; pair++) {
      if (uint(experts[pair]) == expert) {
        order[next] = int(pair);
        next++;
      }
    }
    for (; begin < end; begin += args.tile_pairs) {
      tiles[tile].expert = int(expert);
      tiles[tile].begin = int(begin);
      tiles[tile].end = int(min(begin + args.tile_pairs, end));
      tile++;
    }
    bool is_last = expert + 1 == args.num_experts;
    for (; is_last && tile < args.max_tiles; tile++) {
      tiles[tile].expert = 0;
      tiles[tile].begin = 0;
      tiles[tile].end = 0;
    }
  }
}
