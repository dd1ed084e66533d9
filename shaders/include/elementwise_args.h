// Arguments and grids of kernels that work element by element, for shaders and for drivers that launch them.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

// A threadgroup of cast and glu takes ELEMENTWISE_THREADS * ELEMENTWISE_EACH elements.
enum Elementwise : uint { ELEMENTWISE_THREADS = 256, ELEMENTWISE_EACH = 4 };

struct CastArgs {
  uint count;
};

struct BiasAddArgs {
  uint columns;
};

struct GluArgs {
  uint count;
  uint activation;
};

// A threadgroup of dequantize, one simdgroup, takes so many columns of a row: a block of weights for each thread.
enum Dequantize : uint { DEQUANTIZE_COLUMNS = 1024 };

struct DequantizeArgs {
  uint columns;
  uint planes[6];
};
