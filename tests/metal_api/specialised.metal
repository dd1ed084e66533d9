// Function constants.
#include <metal_stdlib>
using namespace metal;

constant int factor [[function_constant(0)]];
constant bool negate [[function_constant(1)]];

kernel void specialised(device int* values [[buffer(0)]],
                        device const int* shift [[buffer(1), function_constant(negate)]],
                        uint i [[thread_position_in_grid]]) {
  int value = values[i] * factor;
  values[i] = negate ? shift[0] - value : value;
}
