// Rows of inputs rounded once for products of a few rows, in the order in which the matrix units of NVIDIA take them.
//
// Eight rows form a group, 32 columns a chunk. A chunk of a group keeps, for each row, a scale of its own and integers
// of 16 bits, each split into an upper and a lower byte with sign: value = scale * (256 * upper + lower). First come 32
// vectors of 16 bytes: vector 4 r + t has of row r the upper bytes of columns 4 t to 4 t + 3, those 16 columns further,
// then both of the lower bytes. The rows' facts follow. What a chunk's largest input divided by 65024 rounds off is all
// that is lost. Rows that a group lacks are not written.
//
// Rows that are normed may be rounded before their root mean square is known, as it scales whole rows: squares (rows,
// chunks) float32 then has the sum of squares of each chunk before the norm's weight, and products end with
// row_scale().
#pragma once

#include <metal_stdlib>
using namespace metal;

constant constexpr uint ROUNDED_ROWS = 8;
constant constexpr uint ROUNDED_COLUMNS = 32;
constant constexpr uint ROUNDED_BYTES = 32;    // vectors of bytes of a chunk of a group
constant constexpr uint ROUNDED_VECTORS = 36;  // with the facts

constant constexpr float LARGEST_INTEGER = 32512.0f;  // 127 * 256: its upper byte is rounded to 127
constant constexpr float SMALLEST_LARGEST = 1e-30f;   // a chunk of smaller inputs counts as zeros

struct RoundedFacts {
  float scale;
  int sum;  // of the row's integers
};

// Called by a whole simdgroup: what a row's products are to be multiplied with.
inline float row_scale(device const float* squares, uint chunks, uint row, uint lane, float eps) {
  float sum = 0.0f;
  for (uint chunk = lane; chunk < chunks; chunk += 32) {
    sum += squares[row * chunks + chunk];
  }
  return precise::rsqrt(simd_sum(sum) / float(chunks * ROUNDED_COLUMNS) + eps);
}

// Called by a whole simdgroup, whose lanes have a row's 32 columns of a chunk. `chunks`: of a row.
inline void store_rounded(device uint4* rounded, uint chunks, uint row, uint chunk, uint lane, float value) {
  // As integers, magnitudes stand in the order of their size, and NaN above them all.
  float largest = as_type<float>(simd_max(as_type<uint>(value) & 0x7FFFFFFF));
  float inverse = largest > SMALLEST_LARGEST ? LARGEST_INTEGER / largest : 0.0f;
  int integer = int(rint(value * inverse));
  int upper = (integer + 128) >> 8;
  int sum = simd_sum(integer);
  device uint4* target = rounded + (row / ROUNDED_ROWS * chunks + chunk) * ROUNDED_VECTORS;
  device char* bytes = (device char*)(target + row % ROUNDED_ROWS * 4 + lane / 4 % 4) + lane / 16 * 4 + lane % 4;
  bytes[0] = char(upper);
  bytes[8] = char(integer - upper * 256);
  if (lane == 0) {
    device RoundedFacts* facts = (device RoundedFacts*)(target + ROUNDED_BYTES) + row % ROUNDED_ROWS;
    facts->scale = largest * (1.0f / LARGEST_INTEGER);
    facts->sum = sum;
  }
}
