// Rows of a cache (see cache_row.h) as kernels on matrix units take them: eight neighbouring elements at a time, loaded
// as they are stored, and made operands of a 16-bit type later. head_dim is a multiple of 16.
#pragma once

#include "include/cache_row.h"

// C half or bfloat: what is stored is the operand.
template <typename C>
struct CacheEight {
  typedef C Operand;
  static uint4 load(device const C* cache, ulong, ulong eight, uint) { return ((device const uint4*)cache)[eight]; }
  static uint4 operands(uint4 stored) { return stored; }
};

// `stored` holds two words of integers and the scale's bits.
template <>
struct CacheEight<char> {
  typedef half Operand;
  static uint4 load(device const char* cache, ulong elements, ulong eight, uint head_dim) {
    uint2 integers = ((device const uint2*)cache)[eight];
    ushort scale = ((device const ushort*)(cache + elements))[eight / (head_dim / 8)];
    return uint4(integers, scale, 0);
  }
  static uint4 operands(uint4 stored) {
    float scale = float(as_type<half>(ushort(stored.z)));
    uint4 result;
    for (uint i = 0; i < 4; i++) {
      uint two = (i < 2 ? stored.x : stored.y) >> (i % 2 * 16);
      half2 values = half2(half(float(int(two << 24) >> 24) * scale), half(float(int(two << 16) >> 24) * scale));
      result[i] = as_type<uint>(values);
    }
    return result;
  }
};

// `stored` holds a word of nibbles and the scale's bits; a group of elements that share one has at least sixteen.
template <>
struct CacheEight<Nibbles> {
  typedef half Operand;
  static uint4 load(device const Nibbles* cache, ulong elements, ulong eight, uint head_dim) {
    ulong group = eight >> (group_shift(head_dim) - 3);
    ushort scale = ((device const ushort*)(cache + elements / 2))[group];
    return uint4(((device const uint*)cache)[eight], scale, 0, 0);
  }
  static uint4 operands(uint4 stored) {
    float scale = float(as_type<half>(ushort(stored.y)));
    uint4 result;
    for (uint i = 0; i < 4; i++) {
      int low = int(stored.x >> (i * 8) & 15) - NIBBLE_ZERO;
      int high = int(stored.x >> (i * 8 + 4) & 15) - NIBBLE_ZERO;
      result[i] = as_type<uint>(half2(half(float(low) * scale), half(float(high) * scale)));
    }
    return result;
  }
};
