// cuBLASLt, NVIDIA's library of matrix products, opened at run time; nothing needs it.
//
// Declared here after its public documentation, so that building needs no CUDA toolkit.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "softmetal/cuda/libcuda.h"

namespace softmetal::cuda {

struct CublasLtFunctions;

// y = x W^T: x (rows, columns) and W (outputs, columns) bfloat16, y (rows, outputs) float32 or bfloat16, all dense and
// row-major.
// `batch` such products share x; the strides, in elements, lead from one W or y to the next.
struct ProductShape {
  std::uint64_t rows, outputs, columns;
  bool has_bfloat_y;
  std::int32_t batch;
  std::int64_t weight_stride, y_stride;

  bool operator<(const ProductShape& other) const {
    return std::tie(rows, outputs, columns, has_bfloat_y, batch, weight_stride, y_stride) <
           std::tie(other.rows, other.outputs, other.columns, other.has_bfloat_y, other.batch, other.weight_stride,
                    other.y_stride);
  }
};

class CublasLt {
 public:
  // The wanted addresses of all operands are multiples of it, in bytes.
  static constexpr std::uint64_t alignment = 16;
  static constexpr std::size_t workspace_size = std::size_t{64} << 20;

  // Opens the file `path` (searched if empty), for the current context's device; null if there is none.
  static std::unique_ptr<const CublasLt> open(const std::string& path);
  ~CublasLt();

  // Whether it has a way to compute such a product.
  bool can_multiply(const ProductShape& shape) const;

  // Puts the product into the stream; false if it can't. The workspace has workspace_size bytes.
  bool multiply(const ProductShape& shape, DevicePointer x, DevicePointer weights, DevicePointer y,
                DevicePointer workspace, StreamHandle stream) const;

 private:
  struct Plan;

  CublasLt(const CublasLtFunctions* functions, void* handle);
  const Plan& plan(const ProductShape& shape) const;

  const CublasLtFunctions* functions_;
  void* handle_;
  mutable std::mutex mutex_;
  mutable std::map<ProductShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace softmetal::cuda
