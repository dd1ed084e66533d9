// matmul_split: the products of many rows over one part of the columns at a time; matmul_sum adds the parts.
//
//   x (rows, columns) float32 or bfloat, see reads_bfloat; W (outputs, columns), partial (parts, rows, outputs) float32
//
// Grid: (tiles of rows, tiles of outputs, parts of part_columns, a multiple of 32; none is empty).
#include "include/matmul_many.h"

struct MatmulSplitArgs {
  uint rows;
  uint outputs;
  uint columns;
  uint part_columns;
  uint planes[6];
};

constant constexpr uint SIDE = 64;

template <typename Format>
kernel void matmul_split(constant MatmulSplitArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                         device const float* x [[buffer(2)]], device float* partial [[buffer(3)]],
                         uint3 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[SIDE * MANY_VECTORS];
  InputRows inputs = {x, group.x * SIDE, args.rows, args.columns, reads_bfloat};
  MatmulRows rows = {{weight, args.planes}, group.y * SIDE, args.outputs};
  uint begin = min(group.z * args.part_columns, args.columns);
  uint2 range = uint2(begin, min(begin + args.part_columns, args.columns));
  SumMatrix sums[SIDE / 16];
  multiply_many<SIDE, Format>(rows, inputs, range, thread_index, simdgroup, memory, sums);
  threadgroup float* scratch = (threadgroup float*)(memory + simdgroup * 64);
  device float* y = partial + ulong(group.z) * args.rows * args.outputs;
#pragma unroll
  for (uint i = 0; i < SIDE / 16; i++) {
    store_sum(sums[i], scratch, 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    uint output = rows.first + simdgroup / 2 * MANY_PART_OUTPUTS + i % 2 * 16 + lane % 16;
    for (uint j = lane / 16; j < 16; j += 2) {
      uint row = inputs.first + many_part_row<SIDE>(simdgroup) + i / 2 * 16 + j;
      if (row < args.rows && output < args.outputs) {
        y[ulong(row) * args.outputs + output] = scratch[j * 16 + lane % 16];
      }
    }
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name("matmul_split_" #name)]] kernel decltype(matmul_split<Format>) matmul_split<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
