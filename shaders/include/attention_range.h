// Which cache positions a row of queries sees: one contiguous range [begin, end).
#pragma once

#include <metal_stdlib>
using namespace metal;

// Causal: up to `position`; with a window only the last `window` of them (0: no window). A block [x, y) that holds the
// row's own position is seen whole, in both directions: the tokens of an image in Gemma 3. y <= x is no block.
inline uint2 visible_range(uint position, uint window, uint capacity, int2 block) {
  uint end = min(position + 1, capacity);
  uint begin = window != 0 && end > window ? end - window : 0;
  if (block.x >= 0 && block.x < block.y) {
    begin = min(begin, uint(block.x));
    end = min(max(end, uint(block.y)), capacity);
  }
  return uint2(begin, end);
}
