// Rows of a cache (see cache_row.h) as the lanes of a simdgroup hold them: WIDTH neighbouring elements are a run, which
// a lane loads as it is stored and makes floats of later. Runs are numbered through the whole cache; a row is
// 32 * VECTORS of them, so a multiple of 32 elements.
#pragma once

#include "include/cache_row.h"

constant constexpr uint NIBBLE_GROUP = 32;  // elements that share a scale in rows of such sizes

// The largest magnitude of a run.
template <uint WIDTH>
inline float largest_of(vec<float, WIDTH> run) {
  float largest = 0.0f;
  for (uint j = 0; j < WIDTH; j++) {
    largest = max(largest, abs(run[j]));
  }
  return largest;
}

// T float, half or bfloat: all scales are 1.
template <typename T, uint WIDTH>
struct CacheRun {
  typedef vec<T, WIDTH> Stored;

  // What the elements of a run are to be multiplied by.
  template <uint VECTORS>
  static float scale(device const T*, ulong, ulong) {
    return 1.0f;
  }

  static vec<float, WIDTH> floats(Stored from) {
    vec<float, WIDTH> to;
    for (uint j = 0; j < WIDTH; j++) {
      to[j] = float(from[j]);
    }
    return to;
  }

  static Stored packed(vec<float, WIDTH> from, float) {
    Stored to;
    for (uint j = 0; j < WIDTH; j++) {
      to[j] = T(from[j]);
    }
    return to;
  }

  // Called by all lanes: the scales of a row's runs as they will be read.
  template <uint VECTORS>
  static void make_scales(thread const vec<float, WIDTH>*, thread float* scales) {
    for (uint i = 0; i < VECTORS; i++) {
      scales[i] = 1.0f;
    }
  }

  // Called for every run; the first of those that share a scale writes it.
  template <uint VECTORS>
  static void store_scale(device T*, ulong, ulong, float) {}
};

template <uint WIDTH>
struct CacheRun<char, WIDTH> {
  typedef vec<char, WIDTH> Stored;

  template <uint VECTORS>
  static float scale(device const char* cache, ulong elements, ulong run) {
    return row_scale(cache, elements, run / (32 * VECTORS));
  }

  static vec<float, WIDTH> floats(Stored from) {
    vec<float, WIDTH> to;
    for (uint j = 0; j < WIDTH; j++) {
      to[j] = float(from[j]);
    }
    return to;
  }

  static Stored packed(vec<float, WIDTH> from, float scale) {
    Stored to;
    for (uint j = 0; j < WIDTH; j++) {
      to[j] = char(steps_of(from[j], scale, 127.0f));
    }
    return to;
  }

  template <uint VECTORS>
  static void make_scales(thread const vec<float, WIDTH>* row, thread float* scales) {
    float largest = 0.0f;
    for (uint i = 0; i < VECTORS; i++) {
      largest = max(largest, largest_of<WIDTH>(row[i]));
    }
    float scale = float(half_scale(simd_max(largest) / 127.0f));
    for (uint i = 0; i < VECTORS; i++) {
      scales[i] = scale;
    }
  }

  template <uint VECTORS>
  static void store_scale(device char* cache, ulong elements, ulong run, float scale) {
    if (run % (32 * VECTORS) == 0) {
      ((device half*)(cache + elements))[run / (32 * VECTORS)] = half(scale);
    }
  }
};

// An unsigned integer of WIDTH nibbles.
template <uint WIDTH>
struct PackedNibbles {
  typedef uchar Type;
};
template <>
struct PackedNibbles<4> {
  typedef ushort Type;
};

template <uint WIDTH>
struct CacheRun<Nibbles, WIDTH> {
  typedef typename PackedNibbles<WIDTH>::Type Stored;

  template <uint VECTORS>
  static float scale(device const Nibbles* cache, ulong elements, ulong run) {
    return float(group_scales(cache, elements)[run * WIDTH / NIBBLE_GROUP]);
  }

  static vec<float, WIDTH> floats(Stored from) {
    vec<float, WIDTH> to;
    for (uint j = 0; j < WIDTH; j++) {
      to[j] = float(int(uint(from) >> (4 * j) & 15) - NIBBLE_ZERO);
    }
    return to;
  }

  static Stored packed(vec<float, WIDTH> from, float scale) {
    uint to = 0;
    for (uint j = 0; j < WIDTH; j++) {
      to |= uint(int(steps_of(from[j], scale, 7.0f)) + NIBBLE_ZERO) << (4 * j);
    }
    return Stored(to);
  }

  template <uint VECTORS>
  static void make_scales(thread const vec<float, WIDTH>* row, thread float* scales) {
    for (uint i = 0; i < VECTORS; i++) {
      float largest = largest_of<WIDTH>(row[i]);
      for (ushort step = 1; step < NIBBLE_GROUP / WIDTH; step *= 2) {
        largest = max(largest, simd_shuffle_xor(largest, step));
      }
      scales[i] = float(half_scale(largest / 7.0f));
    }
  }

  template <uint VECTORS>
  static void store_scale(device Nibbles* cache, ulong elements, ulong run, float scale) {
    if (run * WIDTH % NIBBLE_GROUP == 0) {
      group_scales(cache, elements)[run * WIDTH / NIBBLE_GROUP] = half(scale);
    }
  }
};
