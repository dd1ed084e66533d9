// The Metal standard library for NVRTC: the parts of metal_cpu that are plain C++, and what a GPU does by itself.
//
// tools/flatten.py makes one text of this and all it includes; the CUDA driver hands it to NVRTC as <metal_stdlib>.
// It needs no CUDA headers and no C++ library. Everything is device code: NVRTC runs with -default-device.
#pragma once

// The order matters: what comes first is named or used by what follows.
// clang-format off
// What `#pragma unroll` becomes.
#define SOFTMETAL_PRAGMA(words) _Pragma(#words)
#define SOFTMETAL_UNROLL _Pragma("unroll")
#define SOFTMETAL_UNROLL_BY(count) SOFTMETAL_PRAGMA(unroll count)

#include "builtin_names.h"
#include "standard_types.h"
#include "convert.h"
#include "../metal_cpu/constants.h"
#include "../metal_cpu/geometric.h"
#include "../metal_cpu/integer.h"
#include "../metal_cpu/math.h"
#include "../metal_cpu/matrix.h"
#include "../metal_cpu/scalar.h"
#include "../metal_cpu/traits.h"
#include "../metal_cpu/vector.h"
#include "atomic.h"
#include "collectives.h"
#include "launch.h"
#include "early_start.h"
#include "../metal_cpu/simdgroup.h"
#include "../metal_cpu/simdgroup_matrix.h"
#include "matrix_16x16.h"
#include "warpgroup_matrix.h"
#include "attention_tile.h"
#include "row_tile.h"
#include "batch_tile.h"
#include "../metal_cpu/compiler_builtins.h"
// clang-format on
