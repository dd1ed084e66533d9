// dequantize: the weights of a tensor of any format as float32 or bfloat16.
//
//   weight (rows, columns) -> y (rows, columns) of type T
//
// Grid: (groups of DEQUANTIZE_COLUMNS of a row, rows). A lane has a block of 32 weights; the simdgroup stores them in
// order.
#include "include/elementwise_args.h"
#include "include/quant.h"
#include "include/rounded.h"

constant constexpr uint BLOCKS_AT_ONCE = DEQUANTIZE_COLUMNS / WEIGHTS_PER_BLOCK;
constant constexpr uint BLOCK_STRIDE = WEIGHTS_PER_BLOCK + 8;  // elements between the lanes' blocks

template <typename Format, typename T>
kernel void dequantize(constant DequantizeArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                       device T* y [[buffer(2)]], uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]]) {
  threadgroup vec<T, 4> staged[BLOCKS_AT_ONCE * BLOCK_STRIDE / 4];
  uint first = group.x * DEQUANTIZE_COLUMNS;
  uint begin = first + lane * WEIGHTS_PER_BLOCK;
  if (begin < args.columns) {
    Weights weights = {weight, args.planes};
    float4 values[8];
    Format::load(weights, group.y, args.columns, begin / WEIGHTS_PER_BLOCK, values);
    for (uint i = 0; i < 8; i++) {
      staged[lane * (BLOCK_STRIDE / 4) + i] = rounded<T>(values[i]);
    }
  }
  simdgroup_barrier(mem_flags::mem_threadgroup);
  device T* out = y + ulong(group.y) * args.columns + first;
  uint count = min(uint(DEQUANTIZE_COLUMNS), args.columns - first);
  bool is_aligned = args.columns % 4 == 0;
  for (uint i = lane; i * 4 < count; i += 32) {
    vec<T, 4> four = staged[i / 8 * (BLOCK_STRIDE / 4) + i % 8];
    if (is_aligned) {
      ((device vec<T, 4>*)out)[i] = four;
    } else {
      for (uint j = 0; j < min(4u, count - i * 4); j++) {
        out[i * 4 + j] = four[j];
      }
    }
  }
}

#define INSTANTIATE_TYPE(host, Format, T) \
  template [[host_name(host)]] kernel decltype(dequantize<Format, T>) dequantize<Format, T>;
#define INSTANTIATE(name, Format)                          \
  INSTANTIATE_TYPE("dequantize_f32_" #name, Format, float) \
  INSTANTIATE_TYPE("dequantize_bf16_" #name, Format, bfloat)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
