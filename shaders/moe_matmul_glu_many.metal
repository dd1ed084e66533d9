// moe_matmul_glu_many: moe_matmul_glu of many tokens, in tiles that multiply bfloat operands; matmul_many.h says how.
//
//   x (pairs / pairs_per_row, columns) float32, Wgate and Wup (num_experts, outputs, columns) of one format, order and
//   tiles of moe_group, y (pairs, outputs) float32
//
// Grid: (tiles, tiles of MOE_SIDE / 2 outputs), threadgroups of 2 * MOE_SIDE threads.
#include "include/activation.h"
#include "include/moe_many.h"

// Gate and up rows alternate by 16, so that a simdgroup has both products of a result.
struct ExpertGluRows {
  Weights gate;
  Weights up;
  ulong begin;  // of the expert
  uint first;
  uint outputs;
  Weights weights(uint number) const thread { return number % 32 < 16 ? gate : up; }
  ulong index(uint number) const thread { return begin + min(first + number / 32 * 16 + number % 16, outputs - 1); }
};

template <typename Format>
kernel void moe_matmul_glu_many(constant MoeMatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                                device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                                device const int* order [[buffer(4)]], device const MoeTile* tiles [[buffer(5)]],
                                device float* y [[buffer(6)]], uint2 group [[threadgroup_position_in_grid]],
                                uint lane [[thread_index_in_simdgroup]],
                                uint thread_index [[thread_index_in_threadgroup]],
                                uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[MOE_SIDE * MANY_VECTORS];
  threadgroup uint pairs[MOE_SIDE];
  uint count = load_pairs(tiles[group.x], order, thread_index, pairs);
  if (count == 0) {
    return;
  }
  PairRows inputs = {x, pairs, 0, count, args.columns, args.pairs_per_row, false};
  ExpertGluRows rows = {{gate, args.gate_planes},
                        {up, args.up_planes},
                        ulong(tiles[group.x].expert) * args.outputs,
                        group.y * (MOE_SIDE / 2),
                        args.outputs};
  SumMatrix sums[MOE_SIDE / 16];
  multiply_many<MOE_SIDE, Format>(rows, inputs, thread_index, simdgroup, memory, sums);
  threadgroup float* gates = (threadgroup float*)(memory + simdgroup * 128);
  threadgroup float* ups = gates + 256;
  uint first_pair = many_part_row<MOE_SIDE>(simdgroup);
  uint output = rows.first + simdgroup / 2 * 16 + lane % 16;
#pragma unroll
  for (uint i = 0; i < MOE_SIDE / 32; i++) {
    store_sum(sums[2 * i], gates, 16);
    store_sum(sums[2 * i + 1], ups, 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    for (uint j = lane / 16; j < 16; j += 2) {
      uint pair = first_pair + i * 16 + j;
      if (pair < count && output < args.outputs) {
        uint at = j * 16 + lane % 16;
        y[ulong(pairs[pair]) * args.outputs + output] = activate(args.activation, gates[at]) * ups[at];
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name(           \
      "moe_matmul_glu_many_" #name)]] kernel decltype(moe_matmul_glu_many<Format>) moe_matmul_glu_many<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
