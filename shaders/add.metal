// add: y = a + b with broadcasting, over up to four dimensions.
//
//   y (shape) float32, dense; a and b are read by element strides, 0 along a broadcast dimension
//
// One thread an element of y.
#include <metal_stdlib>
using namespace metal;

struct AddArgs {
  uint count;
  uint shape[4];
  uint a_strides[4];
  uint b_strides[4];
};

kernel void add(constant AddArgs& args [[buffer(0)]], device const float* a [[buffer(1)]],
                device const float* b [[buffer(2)]], device float* y [[buffer(3)]],
                uint index [[thread_position_in_grid]]) {
  if (index >= args.count) {
    return;
  }
  uint rest = index;
  ulong a_offset = 0;
  ulong b_offset = 0;
  for (int dim = 3; dim >= 0; dim--) {
    uint i = rest % args.shape[dim];
    rest /= args.shape[dim];
    a_offset += ulong(i) * args.a_strides[dim];
    b_offset += ulong(i) * args.b_strides[dim];
  }
  y[index] = a[a_offset] + b[b_offset];
}
