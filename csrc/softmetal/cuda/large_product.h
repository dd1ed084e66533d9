// Dispatches of the shaders matmul, matmul_group and matmul_glu in their forms for many rows, understood as products.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "softmetal/cuda/context.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

using Planes = std::array<std::uint32_t, 6>;

// y = x W^T + bias, or act(x Wgate^T) * (x Wup^T): x (rows, columns), every W (outputs, columns), y (rows, outputs),
// dense. x and a gated y are float32 or bfloat16, other y float32. The weights' formats and planes are those of
// shaders/include/quant.h.
struct LargeProduct {
  std::string format;
  std::uint32_t rows = 0, outputs = 0, columns = 0;
  DevicePointer x = 0, y = 0;
  bool has_bfloat_x = false, has_bfloat_y = false;
  int matrix_count = 1;  // 2: gate and up
  std::array<DevicePointer, 2> weights{};
  std::array<Planes, 2> planes{};
  std::uint32_t activation = 0;  // of the gate
  DevicePointer bias = 0;        // (outputs,) float32; 0: none

  bool is_gated() const { return matrix_count == 2; }
  bool is_bfloat() const { return format == "bf16"; }
};

// Reads the dispatch's argument struct from the device; empty if it is another kernel, or one with an activation, or
// can't be read.
std::vector<LargeProduct> find_large_products(const Context& context, const Command& command);

}  // namespace softmetal::cuda
