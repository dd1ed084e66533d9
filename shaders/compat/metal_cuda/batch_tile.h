// shaders/include/batch_tile.h on NVIDIA: weights as the left operands of mma.m16n8k16, eight rows of inputs as two
// bfloats each as the right ones.
//
// Lane l of a fragment has columns of its own of rows l / 4: word l % 4 of every chunk of 16 bytes, where a load gives
// a lane a whole chunk. So a tile's weights pass through threadgroup memory, with 80 bytes a row against conflicts.
// Each chunk is summed by itself, since it has a scale of its own. Where weights have a shift, a matrix of ones gives
// the sums of the inputs.
#pragma once

#include "bfloat_pairs.h"

namespace metal {

struct BatchSums {
  float elements[2][4];  // outputs l / 4 and l / 4 + 8 of rows l % 4 * 2 and the next
};

METAL_FUNC void clear(BatchSums& sums) {
#pragma unroll
  for (uint i = 0; i < 8; i++) sums.elements[i / 4][i % 4] = 0.0f;
}

namespace cuda {

// A chunk's columns 4 t to 4 t + 3 and those 16 further, as the right operands of its two products.
struct BatchInputs {
  uint upper[4];
  uint lower[4];
};

METAL_FUNC BatchInputs batch_inputs(const float* x, bool is_there) {
  const float4 none(0.0f, 0.0f, 0.0f, 0.0f);
  const float4 a = is_there ? *reinterpret_cast<const float4*>(x) : none;
  const float4 b = is_there ? *reinterpret_cast<const float4*>(x + 16) : none;
  BatchInputs inputs;
  inputs.upper[0] = two_bfloats(a.x, a.z);
  inputs.upper[1] = two_bfloats(a.y, a.w);
  inputs.upper[2] = two_bfloats(b.x, b.z);
  inputs.upper[3] = two_bfloats(b.y, b.w);
  inputs.lower[0] = two_rests(a.x, a.z, inputs.upper[0]);
  inputs.lower[1] = two_rests(a.y, a.w, inputs.upper[1]);
  inputs.lower[2] = two_rests(b.x, b.z, inputs.upper[2]);
  inputs.lower[3] = two_rests(b.y, b.w, inputs.upper[3]);
  return inputs;
}

// The chunk's words of rows l / 4 and l / 4 + 8 times its inputs.
METAL_FUNC void multiply_chunk(float* sums, uint a, uint b, const BatchInputs& inputs) {
  const uint a0 = two_nibbles(a), a1 = two_nibbles(b), a2 = two_nibbles(a >> 8), a3 = two_nibbles(b >> 8);
  multiply_tile(sums, a0, a1, a2, a3, inputs.upper[0], inputs.upper[1]);
  multiply_tile(sums, a0, a1, a2, a3, inputs.lower[0], inputs.lower[1]);
  const uint c0 = two_nibbles(a >> 4), c1 = two_nibbles(b >> 4), c2 = two_nibbles(a >> 12), c3 = two_nibbles(b >> 12);
  multiply_tile(sums, c0, c1, c2, c3, inputs.upper[2], inputs.upper[3]);
  multiply_tile(sums, c0, c1, c2, c3, inputs.lower[2], inputs.lower[3]);
}

METAL_FUNC void sum_chunk(float* sums, const BatchInputs& inputs) {
  constexpr uint ones = 0x3F803F80u;
#pragma unroll
  for (uint i = 0; i < 4; i += 2) {
    multiply_tile(sums, ones, ones, ones, ones, inputs.upper[i], inputs.upper[i + 1]);
    multiply_tile(sums, ones, ones, ones, ones, inputs.lower[i], inputs.lower[i + 1]);
  }
}

}  // namespace cuda

// `Step` is BatchStep<Format>, which the shader declares.
template <typename Step>
METAL_FUNC void accumulate_step(const Step& now, const float* x, uint rows, uint columns, uint step, uint lane,
                                uint4* scratch, BatchSums& sums) {
  const uint row = lane / 4, word = lane % 4;
  const float* own = x + static_cast<ulong>(row < rows ? row : rows - 1) * columns + word * 4;
  cuda::BatchInputs inputs[4];
  float input_sums[4][4] = {};
#pragma unroll
  for (uint c = 0; c < 4; c++) {
    const uint column = (step * 4 + c) * 32;
    inputs[c] = cuda::batch_inputs(own + column, column < columns);
    if (now.format[0].HAS_SHIFT) cuda::sum_chunk(input_sums[c], inputs[c]);
  }
  const uint* words = reinterpret_cast<const uint*>(scratch);
#pragma unroll
  for (uint tile = 0; tile < 2; tile++) {
    ::__syncwarp();
    scratch[row * 5 + word] = now.bits[tile * 2];
    scratch[(row + 8) * 5 + word] = now.bits[tile * 2 + 1];
    ::__syncwarp();
    const auto& first = now.format[tile * 2];
    const auto& second = now.format[tile * 2 + 1];
    float* const totals = sums.elements[tile];
#pragma unroll
    for (uint c = 0; c < 4; c++) {
      float products[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      cuda::multiply_chunk(products, words[row * 20 + c * 4 + word], words[(row + 8) * 20 + c * 4 + word], inputs[c]);
      const uint owner = row * 4 + c;
      const float scale = ::__shfl_sync(cuda::all_lanes, first.scale(), owner);
      const float next_scale = ::__shfl_sync(cuda::all_lanes, second.scale(), owner);
      totals[0] += scale * products[0];
      totals[1] += scale * products[1];
      totals[2] += next_scale * products[2];
      totals[3] += next_scale * products[3];
      if (first.HAS_SHIFT) {
        const float shift = ::__shfl_sync(cuda::all_lanes, first.shift(), owner);
        const float next_shift = ::__shfl_sync(cuda::all_lanes, second.shift(), owner);
        totals[0] += shift * input_sums[c][0];
        totals[1] += shift * input_sums[c][1];
        totals[2] += next_shift * input_sums[c][0];
        totals[3] += next_shift * input_sums[c][1];
      }
    }
  }
}

METAL_FUNC void store_sums(const BatchSums& sums, uint lane, float* results) {
#pragma unroll
  for (uint i = 0; i < 8; i++) {
    const uint output = lane / 4 + i / 2 % 2 * 8;
    results[(i / 4 * 16 + output) * 8 + lane % 4 * 2 + i % 2] = sums.elements[i / 4][i % 4];
  }
}

}  // namespace metal
