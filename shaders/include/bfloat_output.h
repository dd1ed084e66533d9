// What only products of many rows read may be written as bfloat, to which they round it anyway.
#pragma once

#include <metal_stdlib>
using namespace metal;

constant bool writes_bfloat [[function_constant(11)]];

// Element i of y, which holds bfloats where writes_bfloat is set.
inline void write_output(device float* y, ulong i, float value) {
  if (writes_bfloat) {
    ((device bfloat*)y)[i] = bfloat(value);
  } else {
    y[i] = value;
  }
}

// Four elements from i on, a multiple of four.
inline void write_four(device float* y, ulong i, float4 values) {
  if (writes_bfloat) {
    *(device bfloat4*)((device bfloat*)y + i) = bfloat4(values);
  } else {
    *(device float4*)(y + i) = values;
  }
}
