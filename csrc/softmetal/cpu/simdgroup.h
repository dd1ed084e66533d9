// What the lanes of a simdgroup do together: votes, reductions, scans, shuffles, matrix products.
//
// Every lane puts its operand into its simdgroup's table and arrives; the last one computes for all. Lanes that have
// returned take no part. Lane and bit i mean thread_index_in_simdgroup i.
#pragma once

#include <cstdint>
#include <type_traits>

#include "softmetal/cpu/fibre.h"

namespace softmetal::cpu {

template <typename T>
T* operands_of(Simdgroup& simdgroup) {
  static_assert(sizeof(T) <= max_operand_size && std::is_trivially_copyable_v<T>);
  return reinterpret_cast<T*>(simdgroup.operands);
}

template <typename T>
T* results_of(Simdgroup& simdgroup) {
  static_assert(sizeof(T) <= max_operand_size && std::is_trivially_copyable_v<T>);
  return reinterpret_cast<T*>(simdgroup.results);
}

// Operation: type In, type Out, `static constexpr const char* name`, `static void complete(Simdgroup&)`,
// `static constexpr bool one_result`.
template <typename Operation>
inline constexpr Meeting meeting_of = {&Operation::complete, Operation::name};

template <typename Operation>
__attribute__((always_inline)) inline typename Operation::Out meet(const typename Operation::In& value) {
  Fibre* self = current_fibre;
  Simdgroup& simdgroup = *self->simdgroup;
  operands_of<typename Operation::In>(simdgroup)[self->lane] = value;
  arrive(meeting_of<Operation>);
  return results_of<typename Operation::Out>(simdgroup)[Operation::one_result ? 0 : self->lane];
}

// Calls body(lane) for every lane in `mask`, in order.
template <typename Body>
inline void for_lanes(std::uint32_t mask, Body body) {
  for (; mask != 0; mask &= mask - 1) body(static_cast<std::uint32_t>(__builtin_ctz(mask)));
}

// Fold: `static T combine(T, T)`. Whole simdgroups fold as a tree, in halves; others in the lanes' order.
template <typename T, typename Fold>
struct Reduction {
  using In = T;
  using Out = T;
  static constexpr const char* name = Fold::name;
  static constexpr bool one_result = true;

  static void complete(Simdgroup& simdgroup) {
    T* values = operands_of<T>(simdgroup);
    if (simdgroup.live == ~0u) {
      for (std::uint32_t width = simdgroup_size / 2; width > 0; width /= 2) {
        for (std::uint32_t i = 0; i < width; i++) values[i] = Fold::combine(values[i], values[i + width]);
      }
      results_of<T>(simdgroup)[0] = values[0];
      return;
    }
    std::uint32_t first = static_cast<std::uint32_t>(__builtin_ctz(simdgroup.live));
    T sum = values[first];
    for_lanes(simdgroup.live & (simdgroup.live - 1),
              [&](std::uint32_t lane) { sum = Fold::combine(sum, values[lane]); });
    results_of<T>(simdgroup)[0] = sum;
  }
};

// The same within each quad of four lanes.
template <typename T, typename Fold>
struct QuadReduction {
  using In = T;
  using Out = T;
  static constexpr const char* name = Fold::quad_name;
  static constexpr bool one_result = false;

  static void complete(Simdgroup& simdgroup) {
    const T* values = operands_of<T>(simdgroup);
    T* results = results_of<T>(simdgroup);
    for (std::uint32_t quad = 0; quad < simdgroup_size; quad += 4) {
      const std::uint32_t mask = simdgroup.live & (0xFu << quad);
      if (mask == 0) continue;
      T sum = values[__builtin_ctz(mask)];
      for_lanes(mask & (mask - 1), [&](std::uint32_t lane) { sum = Fold::combine(sum, values[lane]); });
      for_lanes(mask, [&](std::uint32_t lane) { results[lane] = sum; });
    }
  }
};

// Running folds in groups of `width` lanes: 32 or 4. The exclusive ones start at Fold::identity.
template <typename T, typename Fold, bool inclusive, std::uint32_t width>
struct Scan {
  using In = T;
  using Out = T;
  static constexpr const char* name = width == 4 ? "quad_prefix" : "simd_prefix";
  static constexpr bool one_result = false;

  static void complete(Simdgroup& simdgroup) {
    const T* values = operands_of<T>(simdgroup);
    T* results = results_of<T>(simdgroup);
    T sum = Fold::template identity<T>();
    std::uint32_t end = width;
    for_lanes(simdgroup.live, [&](std::uint32_t lane) {
      if (lane >= end) {
        sum = Fold::template identity<T>();
        end = lane / width * width + width;
      }
      T next = Fold::combine(sum, values[lane]);
      results[lane] = inclusive ? next : sum;
      sum = next;
    });
  }
};

template <typename T>
struct ShuffleOperand {
  T value;
  std::uint32_t source;
};

// Every lane gets the value of the lane it names; its own if that lane has returned or never was.
template <typename T>
struct Shuffle {
  using In = ShuffleOperand<T>;
  using Out = T;
  static constexpr const char* name = "simd_shuffle or simd_broadcast";
  static constexpr bool one_result = false;

  static void complete(Simdgroup& simdgroup) {
    const In* operands = operands_of<In>(simdgroup);
    T* results = results_of<T>(simdgroup);
    for_lanes(simdgroup.live, [&](std::uint32_t lane) {
      const std::uint32_t source = operands[lane].source;
      const bool there = source < simdgroup_size && (simdgroup.live >> source & 1u) != 0;
      results[lane] = operands[there ? source : lane].value;
    });
  }
};

template <typename T>
struct BroadcastFirst {
  using In = T;
  using Out = T;
  static constexpr const char* name = "simd_broadcast_first";
  static constexpr bool one_result = true;

  static void complete(Simdgroup& simdgroup) {
    results_of<T>(simdgroup)[0] = operands_of<T>(simdgroup)[__builtin_ctz(simdgroup.live)];
  }
};

// The lanes whose operand is true, as bits.
struct Ballot {
  using In = std::uint8_t;
  using Out = std::uint32_t;
  static constexpr const char* name = "simd vote";
  static constexpr bool one_result = true;
  static void complete(Simdgroup& simdgroup);
};

struct SimdgroupBarrier {
  using In = std::uint8_t;
  using Out = std::uint8_t;
  static constexpr const char* name = "simdgroup_barrier";
  static constexpr bool one_result = true;
  static void complete(Simdgroup&) {}
};

// d = a * b + c for 8x8 matrices in float32; each lane holds two neighbouring elements of a row of each.
struct MatrixOperands {
  float a[2], b[2], c[2];
};

struct MatrixElements {
  float value[2];
};

struct MatrixMultiply {
  using In = MatrixOperands;
  using Out = MatrixElements;
  static constexpr const char* name = "simdgroup_multiply_accumulate";
  static constexpr bool one_result = false;
  static void complete(Simdgroup& simdgroup);
};

// Where a lane's two elements of an 8x8 matrix lie, as on Apple's GPUs: (row, column) and (row, column + 1).
constexpr std::uint32_t matrix_row(std::uint32_t lane) { return ((lane / 4) & 4) + (lane / 2) % 4; }
constexpr std::uint32_t matrix_column(std::uint32_t lane) { return ((lane / 4) & 2) * 2 + (lane % 2) * 2; }

inline std::uint32_t current_lane() { return current_fibre->lane; }

template <typename T>
inline T shuffle(T value, std::uint32_t source) {
  return meet<Shuffle<T>>({value, source});
}

inline std::uint32_t ballot(bool value) { return meet<Ballot>(value ? 1 : 0); }

}  // namespace softmetal::cpu
