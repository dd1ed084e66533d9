// One product of many rows: a threadgroup of 2 * SIDE threads computes SIDE x SIDE results, as matmul_many.h says, and
// finishes them.
#pragma once

#include "finish.h"
#include "matmul_many.h"

// Finishes and writes what lies inside of a 16x16 sum; `memory` is the simdgroup's own KiB.
inline void write_sum(thread const SumMatrix& sum, threadgroup float4* memory, device const float* bias,
                      device float* y, uint first_row, uint rows, uint first_output, uint outputs, uint lane) {
  threadgroup float* scratch = (threadgroup float*)memory;
  store_sum(sum, scratch, 16);
  simdgroup_barrier(mem_flags::mem_threadgroup);
  uint output = first_output + lane % 16;
  for (uint i = 0; i < 8; i++) {
    uint row = first_row + i * 2 + lane / 16;
    if (row < rows && output < outputs) {
      y[ulong(row) * outputs + output] = finished(scratch[i * 32 + lane], bias, output);
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
}

template <typename Format, uint SIDE>
inline void write_tile(thread const MatmulRows& rows, thread const InputRows& inputs, device const float* bias,
                       device float* y, uint lane, uint thread_index, uint simdgroup, threadgroup float4* memory) {
  SumMatrix sums[SIDE / 16];
  multiply_many<SIDE, Format>(rows, inputs, thread_index, simdgroup, memory, sums);
  uint first_row = inputs.first + many_part_row<SIDE>(simdgroup);
  uint first_output = rows.first + simdgroup / 2 * MANY_PART_OUTPUTS;
#pragma unroll
  for (uint i = 0; i < SIDE / 16; i++) {
    write_sum(sums[i], memory + simdgroup * 64, bias, y, first_row + i / 2 * 16, inputs.rows, first_output + i % 2 * 16,
              rows.outputs, lane);
  }
}
