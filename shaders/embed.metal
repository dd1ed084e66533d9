// embed: one row of the embedding table for each token, times a scale.
//
//   y[row, :] = table[tokens[row], :] * scale        table (vocab_size, columns), y (rows, columns) float32
//
// One thread a block of 32 weights: grid (blocks of a row, rows).
#include "include/quant.h"

struct EmbedArgs {
  uint columns;
  uint vocab_size;
  uint planes[6];
  float scale;
};

template <typename Format>
kernel void embed(constant EmbedArgs& args [[buffer(0)]], device const uchar* table [[buffer(1)]],
                  device const int* tokens [[buffer(2)]], device float* y [[buffer(3)]],
                  uint2 position [[thread_position_in_grid]]) {
  uint block = position.x;
  uint row = position.y;
  if (block * WEIGHTS_PER_BLOCK >= args.columns) {
    return;
  }
  Weights weights = {table, args.planes};
  uint token = min(uint(tokens[row]), args.vocab_size - 1);
  float4 values[8];
  Format::load(weights, token, args.columns, block, values);
  uint count = min(WEIGHTS_PER_BLOCK, args.columns - block * WEIGHTS_PER_BLOCK);
  device float* out = y + ulong(row) * args.columns + block * WEIGHTS_PER_BLOCK;
  for (uint j = 0; j < count; j++) {
    out[j] = values[j / 4][j % 4] * args.scale;
  }
}

#define INSTANTIATE(name, Format) template [[host_name("embed_" #name)]] kernel decltype(embed<Format>) embed<Format>;
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
