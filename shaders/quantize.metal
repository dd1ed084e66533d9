// quantize: floats to our own int8 and int4 formats, a scale and perhaps a zero point for each group of a row.
//
//   x (rows, columns) float32 -> y, the planes of a (rows, columns) tensor; see python/fastgo/assets/quant.py
//
// A step is the largest magnitude over 127 or 7, or with zero points the range (which takes in 0) over 255 or 15,
// rounded up to float16, so that every weight is off by half a step at most. Grid: (groups of a row, rows), a simdgroup
// each.
#include "include/half_scale.h"
#include "include/quant.h"

struct QuantizeArgs {
  uint columns;
  uint planes[6];
};

struct Group {
  float inverse;
  float zero;
  float lowest;
  float highest;
  half scale;
};

// What the lanes find out together about `size` floats. `middle`: the integer that stands for 0 without zero points.
inline Group measure(device const float* x, uint size, bool has_zeros, float lowest, float highest, float middle,
                     uint lane) {
  float low = 0.0f;
  float high = 0.0f;
  for (uint i = lane; i < size; i += 32) {
    low = min(low, x[i]);
    high = max(high, x[i]);
  }
  low = simd_min(low);
  high = simd_max(high);
  float step = has_zeros ? (high - low) / (highest - lowest) : max(-low, high) / (highest - middle);
  Group group;
  group.lowest = lowest;
  group.highest = highest;
  group.scale = half_scale(step);
  float scale = float(group.scale);
  group.inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  group.zero = has_zeros ? clamp(rint(lowest - low * group.inverse), lowest, highest) : middle;
  return group;
}

inline int quantized(thread const Group& group, float x) {
  return int(clamp(rint(x * group.inverse) + group.zero, group.lowest, group.highest));
}

inline device uchar* plane_at(constant QuantizeArgs& args, device uchar* y, PlaneRole role) {
  return y + ulong(args.planes[role]) * 64;
}

kernel void quantize_int8(constant QuantizeArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                          device uchar* y [[buffer(2)]], uint2 position [[threadgroup_position_in_grid]],
                          uint2 groups [[threadgroups_per_grid]], uint lane [[thread_index_in_simdgroup]]) {
  uint size = args.planes[GROUP_BLOCKS] * WEIGHTS_PER_BLOCK;
  ulong start = ulong(position.y) * args.columns + position.x * size;
  ulong index = ulong(position.y) * groups.x + position.x;
  bool has_zeros = args.planes[MINS] != 0;
  Group group = measure(x + start, size, has_zeros, -128.0f, 127.0f, 0.0f, lane);
  device char* out = (device char*)plane_at(args, y, LOW) + start;
  for (uint i = lane; i < size; i += 32) {
    out[i] = char(quantized(group, x[start + i]));
  }
  if (lane == 0) {
    ((device half*)plane_at(args, y, SCALES))[index] = group.scale;
    if (has_zeros) {
      ((device char*)plane_at(args, y, MINS))[index] = char(int(group.zero));
    }
  }
}

kernel void quantize_int4(constant QuantizeArgs& args [[buffer(0)]], device const float* x [[buffer(1)]],
                          device uchar* y [[buffer(2)]], uint2 position [[threadgroup_position_in_grid]],
                          uint2 groups [[threadgroups_per_grid]], uint lane [[thread_index_in_simdgroup]]) {
  uint size = args.planes[GROUP_BLOCKS] * WEIGHTS_PER_BLOCK;
  ulong start = ulong(position.y) * args.columns + position.x * size;
  ulong index = ulong(position.y) * groups.x + position.x;
  bool has_zeros = args.planes[MINS] != 0;
  Group group = measure(x + start, size, has_zeros, 0.0f, 15.0f, 8.0f, lane);
  device uchar* out = plane_at(args, y, LOW) + start / 2;
  for (uint i = lane; i < size / 2; i += 32) {
    ulong weight = start + i / 16 * WEIGHTS_PER_BLOCK + i % 16;
    out[i] = uchar(quantized(group, x[weight]) | quantized(group, x[weight + 16]) << 4);
  }
  if (lane == 0) {
    ((device half*)plane_at(args, y, SCALES))[index] = group.scale;
    if (has_zeros) {
      plane_at(args, y, MINS)[index] = uchar(int(group.zero));
    }
  }
}
