// copy: a dense copy of a strided view (a transpose, a slice, a broadcast), over up to four dimensions.
//
//   y (shape) float32, dense; x is read by element strides
//
// One thread an element of y.
#include <metal_stdlib>
using namespace metal;

struct CopyArgs {
  uint count;
  uint shape[4];
  uint strides[4];
};

kernel void copy(constant CopyArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                 device float* y [[buffer(2)]], uint index [[thread_position_in_grid]]) {
  if (index >= args.count) {
    return;
  }
  uint rest = index;
  ulong offset = 0;
  for (int dim = 3; dim >= 0; dim--) {
    offset += ulong(rest % args.shape[dim]) * args.strides[dim];
    rest /= args.shape[dim];
  }
  y[index] = x[offset];
}
