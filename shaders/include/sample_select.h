// Which logits of a row may be drawn under top-k, top-p and min-p: exact selection without sorting.
//
// Logits are compared as ordered integers, `keys`. A Cut says what is kept: the keys above one value and, of those
// equal to it, the first few by token id. A cut is found by a search that narrows the range of keys to a quarter each
// round; every thread of the threadgroup takes part, in uniform control flow.
#pragma once

#include <metal_stdlib>

#include "sample_args.h"
using namespace metal;

constant constexpr uint SELECT_THREADS = 256;
constant constexpr uint SELECT_SIMDGROUPS = SELECT_THREADS / 32;
constant constexpr uint SELECT_SCRATCH = 2 * 3 * SELECT_SIMDGROUPS;  // floats

// Keys order as the logits do, 0 and -0 alike. What may never be chosen, NaN too, has key 0.
inline uint key_of(float logit) {
  if (!(logit > LOWEST_SCORE)) {
    return 0;
  }
  uint bits = as_type<uint>(logit);
  if (bits >> 31 == 0) {
    return bits | 0x80000000u;
  }
  return bits == 0x80000000u ? bits : ~bits;
}

inline float logit_of(uint key) { return as_type<float>(key >> 31 != 0 ? key & 0x7FFFFFFFu : ~key); }

struct Filter {
  uint top_k;   // 0: all
  float top_p;  // 1: all
  float min_p;  // 0: all
};

struct Cut {
  uint key;
  uint ties;  // of the logits equal to `key`; those above it are all kept
};

// Sums over the threadgroup, the same in every thread and on every run. One barrier a sum: two halves of the scratch
// memory are used in turn.
struct GroupSum {
  threadgroup float* scratch;  // SELECT_SCRATCH
  uint thread_index;
  uint turn;
};

inline float3 group_sum(thread GroupSum& sum, float3 mine) {
  threadgroup float* partial = sum.scratch + sum.turn * 3 * SELECT_SIMDGROUPS;
  sum.turn = 1 - sum.turn;
  float3 of_simdgroup = float3(simd_sum(mine.x), simd_sum(mine.y), simd_sum(mine.z));
  if (sum.thread_index % 32 == 0) {
    uint simdgroup = sum.thread_index / 32;
    partial[simdgroup * 3] = of_simdgroup.x;
    partial[simdgroup * 3 + 1] = of_simdgroup.y;
    partial[simdgroup * 3 + 2] = of_simdgroup.z;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  float3 total = float3(0.0f);
  for (uint s = 0; s < SELECT_SIMDGROUPS; s++) {
    total += float3(partial[s * 3], partial[s * 3 + 1], partial[s * 3 + 2]);
  }
  return total;
}

// What a search may measure: how many logits there are, or their mass exp((logit - largest) / temperature).
struct Count {
  static float of(thread const Count&, uint) { return 1.0f; }
};

struct Mass {
  float largest;
  float temperature;

  static float of(thread const Mass& mass, uint key) {
    return key == 0 ? 0.0f : precise::exp((logit_of(key) - mass.largest) / mass.temperature);
  }
};

// Where a search may find keys.
struct Listed {
  threadgroup const uint* keys;
  threadgroup const uint* ids;
  uint size;

  uint key(uint i) const { return keys[i]; }
  uint id(uint i) const { return ids[i]; }
};

struct Logits {
  device const float* logits;
  uint size;

  uint key(uint i) const { return key_of(logits[i]); }
  uint id(uint i) const { return i; }
};

// The ids of the logits equal to a key, the lowest id as the largest key.
template <typename Source>
struct TiedIds {
  Source source;
  uint tied_key;
  uint size;

  uint key(uint i) const { return source.key(i) == tied_key ? ~source.id(i) : 0; }
};

// The measures of the keys from each of three pivots on.
template <typename Source, typename Measure>
inline float3 measure_from(thread const Source& source, thread const Measure& measure, uint3 pivots,
                           thread GroupSum& sum) {
  float3 mine = float3(0.0f);
  for (uint i = sum.thread_index; i < source.size; i += SELECT_THREADS) {
    uint key = source.key(i);
    if (key >= pivots.x) {
      float value = Measure::of(measure, key);
      mine += float3(value, key >= pivots.y ? value : 0.0f, key >= pivots.z ? value : 0.0f);
    }
  }
  return group_sum(sum, mine);
}

// The largest key in [low, high] from which on the keys measure `target` or more; `low` itself is not measured.
template <typename Source, typename Measure>
inline uint find_key(thread const Source& source, thread const Measure& measure, float target, uint low, uint high,
                     thread GroupSum& sum) {
  while (low < high) {
    uint step = (high - low) / 4 + 1;
    uint first = low + step;
    uint second = min(first + min(step, high - first), high);
    uint third = min(second + min(step, high - second), high);
    float3 measures = measure_from(source, measure, uint3(first, second, third), sum);
    if (measures.z >= target) {
      low = third;
    } else if (measures.y >= target) {
      low = second;
      high = third - 1;
    } else if (measures.x >= target) {
      low = first;
      high = second - 1;
    } else {
      high = first - 1;
    }
  }
  return low;
}

inline uint lowest_key(thread const Filter& filter, thread const Mass& mass) {
  return key_of(mass.largest + mass.temperature * precise::log(filter.min_p));
}

// top-k, then top-p of what is left of the mass, then min-p. `mass_of_all` is only read without top-k.
template <typename Source>
inline Cut find_cut(thread const Source& source, thread const Filter& filter, thread const Mass& mass,
                    float mass_of_all, thread GroupSum& sum) {
  Count count;
  Cut cut = {0, 0};
  uint top = key_of(mass.largest);
  if (filter.top_k > 0) {
    cut.key = find_key(source, count, float(filter.top_k), 0, top, sum);
    if (cut.key > 0) {
      cut.ties = filter.top_k - uint(measure_from(source, count, uint3(cut.key + 1), sum).x);
    }
  }
  if (filter.top_p < 1.0f) {
    if (filter.top_k > 0) {
      float above = measure_from(source, mass, uint3(cut.key + 1), sum).x;
      mass_of_all = above + float(cut.ties) * Mass::of(mass, cut.key);
    }
    float target = filter.top_p * mass_of_all;
    uint key = find_key(source, mass, target, cut.key, top, sum);
    float above = measure_from(source, mass, uint3(key + 1), sum).x;
    if (key > 0) {
      // Each tie is kept while the mass before it is below the target.
      float missing = ceil((target - above) / Mass::of(mass, key));
      uint most = key == cut.key ? cut.ties : source.size;
      cut.ties = missing < float(most) ? max(uint(missing), 1u) : most;
      cut.key = key;
    }
  }
  if (filter.min_p > 0.0f) {
    uint lowest = lowest_key(filter, mass);
    if (lowest > cut.key) {
      cut.key = lowest - 1;
      cut.ties = 0;
    }
  }
  return cut;
}

// The last id that is kept among the logits equal to the cut's key.
template <typename Source>
inline uint last_tied_id(thread const Source& source, Cut cut, uint vocab_size, thread GroupSum& sum) {
  Count count;
  TiedIds<Source> tied = {source, cut.key, source.size};
  if (measure_from(tied, count, uint3(1), sum).x <= float(cut.ties)) {
    return vocab_size - 1;
  }
  return ~find_key(tied, count, float(cut.ties), ~(vocab_size - 1), 0xFFFFFFFFu, sum);
}
