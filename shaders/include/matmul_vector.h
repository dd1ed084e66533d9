// What the one-row kernels of wide devices share: simdgroups of a threadgroup that split the columns of their outputs.
#pragma once

#include "early_start.h"
#include "gather_parts.h"
#include "quant_unit.h"
#include "reduce.h"

// Where a simdgroup stands: `parts` simdgroups share the same outputs, of which the first is `first_output`.
struct VectorPlace {
  uint lane;
  uint simdgroup;
  uint parts;
  uint first_output;
};

// This lane's part of the sums, over MATRICES weights of one shape: sums[m * OUTPUTS + n].
template <typename Format, uint MATRICES, uint OUTPUTS>
inline void accumulate_units(thread const Weights* matrices, device const float* x, uint outputs, uint columns,
                             thread const VectorPlace& place, thread float* sums) {
  uint row_blocks = columns / WEIGHTS_PER_BLOCK;
  uint units = columns / WEIGHTS_PER_UNIT;
  for (uint i = 0; i < MATRICES * OUTPUTS; i++) {
    sums[i] = 0.0f;
  }
  for (uint unit = place.simdgroup % place.parts * 32 + place.lane; unit < units; unit += place.parts * 32) {
    UnitInputs inputs = Unit<Format>::inputs(x, unit);
    for (uint m = 0; m < MATRICES; m++) {
      for (uint n = 0; n < OUTPUTS; n++) {
        // Outputs beyond the last repeat it; they are not stored.
        ulong row = min(place.first_output + n, outputs - 1);
        sums[m * OUTPUTS + n] += Unit<Format>::product(matrices[m], row, row_blocks, unit, inputs);
      }
    }
  }
}

// Adds up lanes and parts, as gather_parts says; `scratch` holds MAX_SIMDGROUPS * COUNT floats.
template <uint COUNT>
inline float gather_sums(thread const float* sums, thread const VectorPlace& place, threadgroup float* scratch) {
  return gather_parts<COUNT>(sums, place.lane, place.simdgroup, place.simdgroup % place.parts, place.parts, scratch);
}
