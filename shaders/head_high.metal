// head_high: from the high nibbles and the sketch of every row, the largest logit that it can have.
//
//   tiles (head_args.h), x (1, columns), projection of head_project
//   upper (groups * HEAD_GROUP,) float32; for each group of HEAD_GROUP rows the largest estimate and its row
//
// One threadgroup a group, a simdgroup for a tile: lanes r and 16 + r share row r, each every second block. Nothing is
// computed if no row or every row is wanted.
#include <metal_stdlib>

#include "include/head_args.h"
using namespace metal;

inline float head_estimate(constant HeadArgs& args, device const uchar* tile, device const float* x,
                           device const float* projection, uint row, uint part) {
  device const uchar4* sketch = (device const uchar4*)(tile + head_tile_sketch(args.columns));
  device const float* sketch_scales =
      (device const float*)(tile + head_tile_sketch_scales(args.columns, args.directions));
  float sum = 0.0f;
  for (uint block = part; block < args.columns / 32; block += 2) {
    device const uchar4* nibbles = (device const uchar4*)(tile + head_tile_nibbles(block));
    device const half* scales = (device const half*)(tile + head_tile_scales(block));
    device const float4* inputs = (device const float4*)(x + block * 32);
    float4 terms = float4(0.0f);
    for (uint v = 0; v < 4; v++) {
      uchar4 bytes = nibbles[v * HEAD_TILE_ROWS + row];
      terms += (16.0f * float4(bytes & uchar4(15)) - 120.5f) * inputs[v];
      terms += (16.0f * float4(bytes >> uchar4(4)) - 120.5f) * inputs[v + 4];
    }
    sum += float(scales[row]) * (terms.x + terms.y + (terms.z + terms.w));
  }
  float4 along = float4(0.0f);
  device const float4* coordinates = (device const float4*)projection;
  for (uint quad = part; quad < args.directions / 4; quad += 2) {
    along += (float4(sketch[quad * HEAD_TILE_ROWS + row]) - 128.0f) * coordinates[quad];
  }
  sum += sketch_scales[row] * (along.x + along.y + (along.z + along.w));
  return sum + simd_shuffle_xor(sum, 16);
}

kernel void head_high(constant HeadArgs& args [[buffer(0)]], device const uint* wanted [[buffer(1)]],
                      device const uchar* tiles [[buffer(2)]], device const float* x [[buffer(3)]],
                      device const float* projection [[buffer(4)]], device float* upper [[buffer(5)]],
                      device float* scores [[buffer(6)]], device uint* ids [[buffer(7)]],
                      uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                      uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float best_scores[HEAD_SIMDGROUPS];
  threadgroup uint best_ids[HEAD_SIMDGROUPS];
  if (wanted[0] == 0 || wanted[0] > args.groups) {
    return;
  }
  float reach = projection[args.directions + HEAD_REACH];
  float slack = projection[args.directions + HEAD_SLACK];
  float best = HEAD_NOT_FINISHED;
  uint best_id = group * HEAD_GROUP;
  uint end = min((group + 1) * HEAD_GROUP, args.vocab_size);
  for (uint first = group * HEAD_GROUP + simdgroup * HEAD_TILE_ROWS; first < end;
       first += HEAD_SIMDGROUPS * HEAD_TILE_ROWS) {
    device const uchar* tile = tiles + ulong(first / HEAD_TILE_ROWS) * head_tile_nbytes(args.columns, args.directions);
    uint row = lane % HEAD_TILE_ROWS;
    float estimate = head_estimate(args, tile, x, projection, row, lane / HEAD_TILE_ROWS);
    float bound = ((device const float*)(tile + head_tile_bounds(args.columns, args.directions)))[row];
    if (lane < HEAD_TILE_ROWS) {
      upper[first + row] = estimate + (bound * reach + slack);
    }
    if (estimate > best && first + row < end) {
      best = estimate;
      best_id = first + row;
    }
  }
  float largest = simd_max(best);
  uint chosen = simd_min(best == largest ? best_id : end - 1);
  if (lane == 0) {
    best_scores[simdgroup] = largest;
    best_ids[simdgroup] = chosen;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (simdgroup == 0 && lane == 0) {
    for (uint s = 1; s < HEAD_SIMDGROUPS; s++) {
      if (best_scores[s] > largest) {
        largest = best_scores[s];
        chosen = best_ids[s];
      }
    }
    scores[group] = largest;
    ids[group] = chosen;
  }
}
