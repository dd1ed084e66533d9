// Opens cuBLASLt and builds the helpers' pipelines when they are first needed.
#include "softmetal/cuda/large_products.h"

#include <cstring>

#include "softmetal/cuda/shader_registry.h"

namespace softmetal::cuda {
namespace {

constexpr std::uint32_t fewest_rows = 64;  // below, dequantising for so few rows costs more than the shaders' products
constexpr std::uint32_t fewest_bfloat_rows = 17;

bool is_aligned(const LargeProduct& product) {
  const std::uint64_t y_size = product.has_bfloat_y ? 2 : 4;
  const bool rows_are = product.columns * std::uint64_t{2} % CublasLt::alignment == 0 &&
                        product.outputs * y_size % CublasLt::alignment == 0;
  const bool x_is = !product.has_bfloat_x || product.x % CublasLt::alignment == 0;  // else it is rounded elsewhere
  return rows_are && x_is && product.y % CublasLt::alignment == 0;
}

}  // namespace

bool LargeProducts::takes(const LargeProduct& product) {
  const std::uint32_t fewest = product.is_bfloat() ? fewest_bfloat_rows : fewest_rows;
  if (product.format == "f32" || product.rows < fewest || !is_aligned(product) || !cublas()) return false;
  return cublas()->can_multiply({product.rows, product.outputs, product.columns, product.has_bfloat_y, 1, 0, 0});
}

const CublasLt* LargeProducts::cublas() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!was_opened_ && library_ != "0") cublas_ = CublasLt::open(library_);
  was_opened_ = true;
  return cublas_.get();
}

const CudaPipeline* LargeProducts::pipeline(const std::string& file, const std::string& kernel) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<CudaPipeline>& pipeline = pipelines_[kernel];
  const TranslatedShader* shader = pipeline ? nullptr : find_shader_file(file);
  for (std::uint32_t i = 0; shader && i < shader->file->kernel_count; i++) {
    std::string problem;
    const std::vector<ConstantSetting> constants;
    if (kernel == shader->file->kernels[i].name) {
      pipeline = build_pipeline(context_, nvrtc_, cache_, {*shader, i, constants, false}, &problem);
    }
  }
  return pipeline.get();
}

}  // namespace softmetal::cuda
