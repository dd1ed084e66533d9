// dequantize: the weights of a tensor of any format as float32.
//
//   weight (rows, columns) -> y (rows, columns) float32
//
// One thread a block of 32 weights: grid (blocks of a row, rows).
#include "include/quant.h"

struct DequantizeArgs {
  uint columns;
  uint planes[6];
};

template <typename Format>
kernel void dequantize(constant DequantizeArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                       device float* y [[buffer(2)]], uint2 position [[thread_position_in_grid]]) {
  uint first = position.x * WEIGHTS_PER_BLOCK;
  if (first >= args.columns) {
    return;
  }
  Weights weights = {weight, args.planes};
  float4 values[8];
  Format::load(weights, position.y, args.columns, position.x, values);
  uint count = min(WEIGHTS_PER_BLOCK, args.columns - first);
  device float* out = y + ulong(position.y) * args.columns + first;
  for (uint j = 0; j < count; j++) {
    out[j] = values[j / 4][j % 4];
  }
}

#define INSTANTIATE(name, Format) \
  template [[host_name("dequantize_" #name)]] kernel decltype(dequantize<Format>) dequantize<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
