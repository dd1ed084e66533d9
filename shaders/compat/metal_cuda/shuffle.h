// Moving values of any type between the lanes of a simdgroup, in words of 32 bits.
//
// All lanes that have not returned take part, so a simdgroup meets here even if its lanes had drifted apart. Where the
// pipeline promises whole simdgroups (SOFTMETAL_WHOLE_SIMDGROUPS), that is all of them, and nothing is asked: lanes of
// a simdgroup that meets here must not have returned alone.
#pragma once

#include "../metal_cpu/vector.h"

namespace metal {
namespace cuda {

constexpr uint all_lanes = 0xFFFFFFFFu;

METAL_FUNC uint current_lane() {
  uint lane;
  asm("mov.u32 %0, %%laneid;" : "=r"(lane));
  return lane;
}

// The lanes that have not returned.
METAL_FUNC uint live_lanes() {
#ifdef SOFTMETAL_WHOLE_SIMDGROUPS
  return all_lanes;
#else
  return ::__ballot_sync(all_lanes, 1);
#endif
}

// The value that lane `source` holds; `source` must be live.
template <typename T>
METAL_FUNC T value_of_lane(const T& value, uint source) {
  constexpr int words = (sizeof(T) + 3) / 4;
  struct Words {
    uint word[words];
  };
  if constexpr (sizeof(T) < 4) {
    struct Small {
      unsigned char byte[sizeof(T)];
    };
    const Small small = __builtin_bit_cast(Small, value);
    uint packed = 0;
    for (uint i = 0; i < sizeof(T); i++) packed |= static_cast<uint>(small.byte[i]) << (i * 8);
    packed = ::__shfl_sync(all_lanes, packed, source);
    Small moved;
    for (uint i = 0; i < sizeof(T); i++) moved.byte[i] = static_cast<unsigned char>(packed >> (i * 8));
    return __builtin_bit_cast(T, moved);
  } else {
    static_assert(sizeof(T) == sizeof(Words), "values that lanes exchange have a multiple of 4 bytes");
    Words moved = __builtin_bit_cast(Words, value);
#pragma unroll
    for (int i = 0; i < words; i++) moved.word[i] = ::__shfl_sync(all_lanes, moved.word[i], source);
    return __builtin_bit_cast(T, moved);
  }
}

// The value of lane `source`, or the lane's own if that one has returned or never was.
template <typename T>
METAL_FUNC T shuffle(const T& value, uint source) {
  const uint live = live_lanes();
  const bool there = source < 32 && (live >> (source & 31) & 1u) != 0;
  return value_of_lane(value, there ? source : current_lane());
}

// Folds over groups of `width` lanes: halves at a time in whole groups, in the lanes' order else. Every lane gets it.
template <typename Fold, uint width, typename T>
METAL_FUNC T reduce(T value) {
  const uint live = live_lanes();
  if (live == all_lanes) {
#pragma unroll
    for (uint distance = width / 2; distance > 0; distance /= 2) {
      value = Fold::combine(value, value_of_lane(value, current_lane() ^ distance));
    }
    return value;
  }
  const uint start = current_lane() / width * width;
  T sum = value;
  bool is_first = true;
  for (uint lane = start; lane < start + width; lane++) {
    const bool there = (live >> lane & 1u) != 0;
    const T next = value_of_lane(value, there ? lane : current_lane());
    if (there) sum = is_first ? next : Fold::combine(sum, next);
    is_first = is_first && !there;
  }
  return sum;
}

// Running folds over groups of `width` lanes, in the lanes' order.
template <typename Fold, bool inclusive, uint width, typename T>
METAL_FUNC T scan(T value) {
  const uint live = live_lanes();
  const uint self = current_lane();
  const uint start = self / width * width;
  T sum = Fold::template identity<T>();
  T result = sum;
  for (uint lane = start; lane < start + width; lane++) {
    const bool there = (live >> lane & 1u) != 0;
    const T next = value_of_lane(value, there ? lane : self);
    if (there) {
      const T before = sum;
      sum = Fold::combine(sum, next);
      if (lane == self) result = inclusive ? sum : before;
    }
  }
  return result;
}

}  // namespace cuda
}  // namespace metal
