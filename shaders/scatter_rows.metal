// scatter_rows: y[rows[r], :] = x[r, :]; other rows of y keep their content.
//
//   x (count, columns) float32, rows (count,) int32, y (y_rows, columns) float32
//
// One thread an element: grid (columns, count). Rows outside of y are left out; of equal ones any may stay.
#include <metal_stdlib>
using namespace metal;

struct ScatterRowsArgs {
  uint columns;
  uint y_rows;
};

kernel void scatter_rows(constant ScatterRowsArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                         device const int* rows [[buffer(2)]], device float* y [[buffer(3)]],
                         uint2 position [[thread_position_in_grid]]) {
  uint row = uint(rows[position.y]);
  if (position.x < args.columns && row < args.y_rows) {
    y[ulong(row) * args.columns + position.x] = x[ulong(position.y) * args.columns + position.x];
  }
}
