// The steps that compute all large products between two barriers of a program, and where their operands lie.
#pragma once

#include <cstddef>
#include <vector>

#include "softmetal/cuda/cublas_lt.h"
#include "softmetal/cuda/large_product.h"

namespace softmetal::cuda {

struct ProductStage {
  struct Cast {
    DevicePointer from, to;
    std::uint32_t count;
  };
  struct Dequantize {
    std::string format;
    DevicePointer weights, to;
    std::uint32_t rows, columns;
    Planes planes;
  };
  struct Multiply {
    ProductShape shape;
    DevicePointer x, weights, y;
  };
  struct Bias {
    DevicePointer bias, y;
    std::uint32_t rows, columns;
  };
  struct Glu {
    DevicePointer gate, up, y;
    std::uint32_t count, activation;
    bool is_bfloat;  // all three
  };

  std::vector<Cast> casts;  // first all of these, then all of the next ...
  std::vector<Dequantize> dequantized;
  std::vector<Multiply> multiplied;
  std::vector<Bias> biased;
  std::vector<Glu> gated;
  DevicePointer workspace = 0;
  std::size_t scratch_size = 0;

  std::size_t helper_count() const { return casts.size() + dequantized.size() + biased.size() + gated.size(); }
};

// With scratch memory that begins at `scratch`. Two products of the same inputs and shape go as one, if cuBLASLt can.
ProductStage plan_stage(std::vector<LargeProduct> products, DevicePointer scratch, const CublasLt& cublas);

}  // namespace softmetal::cuda
