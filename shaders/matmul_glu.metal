// matmul_glu: y = act(x Wgate^T) * (x Wup^T), the two projections of a gated linear unit and their gate in one kernel.
//
//   x (rows, columns) float32, Wgate and Wup (outputs, columns) of one format, y (rows, outputs) float32; for many rows
//   x may be bfloat, see reads_bfloat, and y, see bfloat_output.h
//
// Grid: (tiles of rows, tiles of outputs). A simdgroup computes ROWS x OUTPUTS results; in the form for many rows the
// threadgroup dequantises a tile of weights for all of its simdgroups.
#include "include/activation.h"
#include "include/bfloat_output.h"
#include "include/matmul_args.h"
#include "include/matmul_many.h"
#include "include/matmul_tile.h"

template <typename Format, uint ROWS, uint OUTPUTS>
kernel void matmul_glu(constant MatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                       device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                       device float* y [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]],
                       uint simdgroups [[simdgroups_per_threadgroup]]) {
  uint first_row = group.x * ROWS;
  uint first_output = (group.y * simdgroups + simdgroup) * OUTPUTS;
  if (first_output >= args.outputs) {
    return;
  }
  Weights gate_weights = {gate, args.gate_planes};
  Weights up_weights = {up, args.up_planes};
  float4 gate_sums[ROWS * OUTPUTS] = {};
  float4 up_sums[ROWS * OUTPUTS] = {};
  accumulate<Format, ROWS, OUTPUTS>(gate_weights, x, first_row, args.rows, first_output, args.outputs, args.columns,
                                    lane, gate_sums);
  accumulate<Format, ROWS, OUTPUTS>(up_weights, x, first_row, args.rows, first_output, args.outputs, args.columns, lane,
                                    up_sums);
  for (uint n = 0; n < OUTPUTS; n++) {
    for (uint m = 0; m < ROWS; m++) {
      float gate_value = simd_sum(horizontal_sum(gate_sums[n * ROWS + m]));
      float up_value = simd_sum(horizontal_sum(up_sums[n * ROWS + m]));
      if (lane == 0 && first_row + m < args.rows && first_output + n < args.outputs) {
        y[ulong(first_row + m) * args.outputs + first_output + n] = activate(args.activation, gate_value) * up_value;
      }
    }
  }
}

// Gate and up rows alternate by 16, so that a simdgroup has both products of a result.
struct GluRows {
  Weights gate;
  Weights up;
  uint first;
  uint outputs;
  Weights weights(uint number) const thread { return number % 32 < 16 ? gate : up; }
  ulong index(uint number) const thread { return min(first + number / 32 * 16 + number % 16, outputs - 1); }
};

// Writes what lies inside of 16x16 results; `products` are the gates, then the ups.
inline void write_gated(uint activation, threadgroup const float* products, device float* y, uint first_row, uint rows,
                        uint first_output, uint outputs, uint lane) {
  uint output = first_output + lane % 16;
  uint count = first_row < rows && output < outputs ? min(16u, rows - first_row) : 0;
  for (uint row = lane / 16; row < count; row += 2) {
    uint place = row * 16 + lane % 16;
    write_output(y, ulong(first_row + row) * outputs + output,
                 activate(activation, products[place]) * products[place + 256]);
  }
}

// The form for many rows: a threadgroup of 2 * SIDE threads computes SIDE x SIDE / 2 results from bfloat operands.
template <typename Format, uint SIDE>
kernel void matmul_glu_many(constant MatmulGluArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                            device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                            device float* y [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
                            uint lane [[thread_index_in_simdgroup]], uint thread_index [[thread_index_in_threadgroup]],
                            uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[SIDE * MANY_VECTORS];
  InputRows inputs = {x, group.x * SIDE, args.rows, args.columns, reads_bfloat};
  GluRows rows = {{gate, args.gate_planes}, {up, args.up_planes}, group.y * (SIDE / 2), args.outputs};
  SumMatrix sums[SIDE / 16];
  multiply_many<SIDE, Format>(rows, inputs, thread_index, simdgroup, memory, sums);
  uint first_row = inputs.first + many_part_row<SIDE>(simdgroup);
  uint first_output = rows.first + simdgroup / 2 * 16;
  threadgroup float4* gate_scratch = memory + simdgroup * 128;
#pragma unroll
  for (uint i = 0; i < SIDE / 32; i++) {
    store_sum(sums[2 * i], (threadgroup float*)gate_scratch, 16);
    store_sum(sums[2 * i + 1], (threadgroup float*)(gate_scratch + 64), 16);
    simdgroup_barrier(mem_flags::mem_threadgroup);
    write_gated(args.activation, (threadgroup const float*)gate_scratch, y, first_row + i * 16, args.rows, first_output,
                args.outputs, lane);
    simdgroup_barrier(mem_flags::mem_threadgroup);
  }
}

#define INSTANTIATE_TILE(host, Format, ROWS, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul_glu<Format, ROWS, OUTPUTS>) matmul_glu<Format, ROWS, OUTPUTS>;
#define INSTANTIATE(name, Format)                                                      \
  INSTANTIATE_TILE("matmul_glu_" #name "_r1", Format, VECTOR_ROWS, GLU_VECTOR_OUTPUTS) \
  INSTANTIATE_TILE("matmul_glu_" #name "_r8", Format, BATCH_ROWS, GLU_BATCH_OUTPUTS)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)

#define INSTANTIATE_SIDE(host, Format, SIDE) \
  template [[host_name(host)]] kernel decltype(matmul_glu_many<Format, SIDE>) matmul_glu_many<Format, SIDE>;
#define INSTANTIATE_MANY(name, Format)                     \
  INSTANTIATE_SIDE("matmul_glu_" #name "_r64", Format, 64) \
  INSTANTIATE_SIDE("matmul_glu_" #name "_r128", Format, 128)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE_MANY)
