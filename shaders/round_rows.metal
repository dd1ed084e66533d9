// round_rows: rows of inputs rounded once for products of a few rows.
//
//   x (rows, columns) float32, columns a multiple of 32; rounded: see rounded_rows.h
//
// Grid: (chunks of 32 columns, rows), one simdgroup each.
#include "include/rounded_rows.h"
#include "include/rounded_rows_args.h"

kernel void round_rows(constant RoundRowsArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                       device uint4* rounded [[buffer(2)]], uint2 group [[threadgroup_position_in_grid]],
                       uint lane [[thread_index_in_simdgroup]]) {
  float value = x[ulong(group.y) * args.columns + group.x * ROUNDED_COLUMNS + lane];
  store_rounded(rounded, args.columns / ROUNDED_COLUMNS, group.y, group.x, lane, value);
}
