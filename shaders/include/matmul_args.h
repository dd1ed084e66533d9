// Arguments and tile sizes of the matmul kernels, for shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct MatmulArgs {
  uint rows;
  uint outputs;
  uint columns;
  uint planes[6];
};

struct MatmulGluArgs {
  uint rows;
  uint outputs;
  uint columns;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
};

// Three matrices, each with outputs of its own.
struct MatmulGroupArgs {
  uint rows;
  uint columns;
  uint outputs[3];
  uint planes[3 * 6];
};

// One row; `parts` simdgroups of a threadgroup share the columns of a tile of outputs.
struct MatmulVectorArgs {
  uint outputs;
  uint columns;
  uint parts;
  uint planes[6];
};

struct MatmulGluVectorArgs {
  uint outputs;
  uint columns;
  uint parts;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
};

// One row in tiles of sixteen outputs; columns and parts are function constants.
struct MatmulVectorTileArgs {
  uint outputs;
  uint planes[6];
};

struct MatmulGluVectorTileArgs {
  uint outputs;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
};

// A few rows in tiles of sixteen outputs; columns and parts are function constants.
// `eps` is the norm's where has_squares is set.
struct MatmulBatchTileArgs {
  uint rows;
  uint outputs;
  uint planes[6];
  float eps;
};

struct MatmulAddBatchTileArgs {
  uint rows;
  uint outputs;
  uint planes[6];
};

struct MatmulGluBatchTileArgs {
  uint rows;
  uint outputs;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
  float eps;
};

// Of the norm that these kernels do first.
struct NormMatmulGluArgs {
  uint outputs;
  uint gate_planes[6];
  uint up_planes[6];
  uint activation;
  float eps;
};

// Three matrices, each with outputs of its own.
struct NormMatmulGroupArgs {
  uint outputs[3];
  uint planes[3 * 6];
  float eps;
};

// Rows and outputs of a simdgroup's tile: one row in decode, eight in prefill.
enum MatmulTile : uint {
  VECTOR_ROWS = 1,
  BATCH_ROWS = 8,
  VECTOR_OUTPUTS = 4,
  BATCH_OUTPUTS = 2,
  GLU_VECTOR_OUTPUTS = 2,
  GLU_BATCH_OUTPUTS = 1,
};

enum Activation : uint { SILU = 0, GELU_TANH = 1, GELU_ERF = 2, RELU = 3, NO_ACTIVATION = 4 };
