// moe_matmul_many: moe_matmul of many tokens, in tiles that multiply bfloat operands; matmul_many.h says how.
//
//   x (pairs / pairs_per_row, columns) float32, W (num_experts, outputs, columns), order and tiles of moe_group,
//   y (pairs, outputs) float32
//
// Grid: (tiles, tiles of MOE_SIDE outputs), threadgroups of 2 * MOE_SIDE threads.
#include "include/moe_many.h"

struct ExpertRows {
  Weights all;
  ulong begin;  // of the expert
  uint first;
  uint outputs;
  Weights weights(uint) const thread { return all; }
  ulong index(uint number) const thread { return begin + min(first + number, outputs - 1); }
};

template <typename Format>
kernel void moe_matmul_many(constant MoeMatmulArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                            device const float* x [[buffer(2)]], device const int* order [[buffer(3)]],
                            device const MoeTile* tiles [[buffer(4)]], device float* y [[buffer(5)]],
                            uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                            uint thread_index [[thread_index_in_threadgroup]],
                            uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[MOE_SIDE * MANY_VECTORS];
  threadgroup uint pairs[MOE_SIDE];
  uint count = load_pairs(tiles[group.x], order, thread_index, pairs);
  if (count == 0) {
    return;
  }
  PairRows inputs = {x, pairs, 0, count, args.columns, args.pairs_per_row, false};
  ExpertRows rows = {
      {weight, args.planes}, ulong(tiles[group.x].expert) * args.outputs, group.y * MOE_SIDE, args.outputs};
  SumMatrix sums[MOE_SIDE / 16];
  multiply_many<MOE_SIDE, Format>(rows, inputs, thread_index, simdgroup, memory, sums);
  threadgroup float* scratch = (threadgroup float*)(memory + simdgroup * 64);
  uint first_pair = many_part_row<MOE_SIDE>(simdgroup);
#pragma unroll
  for (uint i = 0; i < MOE_SIDE / 16; i++) {
    store_sum(sums[i], scratch, 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    uint output = rows.first + simdgroup / 2 * MANY_PART_OUTPUTS + i % 2 * 16 + lane % 16;
    for (uint j = lane / 16; j < 16; j += 2) {
      uint pair = first_pair + i / 2 * 16 + j;
      if (pair < count && output < args.outputs) {
        y[ulong(pairs[pair]) * args.outputs + output] = scratch[j * 16 + lane % 16];
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name("moe_matmul_many_" #name)]] kernel decltype(moe_matmul_many<Format>) moe_matmul_many<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
