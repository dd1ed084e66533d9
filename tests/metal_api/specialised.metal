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

constant int offset [[function_constant(2)]];
constant int used_offset = is_function_constant_defined(offset) ? offset : 7;

kernel void asks_first(device int* values [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  values[i] += used_offset;
}

kernel void uses_none(device int* values [[buffer(0)]], uint i [[thread_position_in_grid]]) { values[i] = 1; }
