// Places operands in scratch memory and pairs products.
#include "softmetal/cuda/product_stage.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace softmetal::cuda {
namespace {

constexpr std::uint64_t plane_alignment = 64;  // the unit of Planes, as in shaders/include/quant.h
constexpr std::uint64_t place_alignment = 256;
constexpr std::uint64_t bfloat_size = 2, float_size = 4;

class Planner {
 public:
  Planner(DevicePointer scratch, const CublasLt& cublas) : begin_(scratch), end_(scratch), cublas_(cublas) {
    stage_.workspace = place(CublasLt::workspace_size);
  }

  void add(const LargeProduct& product) {
    const std::uint64_t count = std::uint64_t{product.rows} * product.outputs;
    const std::uint64_t result_size = product.has_bfloat_y ? bfloat_size : float_size;
    std::array<DevicePointer, 2> results = {product.y, 0};
    if (product.is_gated()) {
      results[0] = place(2 * count * result_size);
      results[1] = results[0] + count * result_size;
      stage_.gated.push_back({results[0], results[1], product.y, static_cast<std::uint32_t>(count), product.activation,
                              product.has_bfloat_y});
    }
    if (product.bias != 0) stage_.biased.push_back({product.bias, product.y, product.rows, product.outputs});
    const DevicePointer x = rounded(product);
    for (int i = 0; i < product.matrix_count; i++) {
      const ProductShape shape = {product.rows, product.outputs, product.columns, product.has_bfloat_y, 1, 0, 0};
      stage_.multiplied.push_back({shape, x, weights(product, i), results[i]});
    }
  }

  ProductStage finish() {
    pair();
    stage_.scratch_size = end_ - begin_;
    return std::move(stage_);
  }

 private:
  DevicePointer place(std::uint64_t size) {
    const DevicePointer place = end_;
    end_ += (size + place_alignment - 1) / place_alignment * place_alignment;
    return place;
  }

  // The inputs as bfloat16, made once for all products of the stage if they are not.
  DevicePointer rounded(const LargeProduct& product) {
    if (product.has_bfloat_x) return product.x;
    const std::uint64_t count = std::uint64_t{product.rows} * product.columns;
    DevicePointer& to = rounded_[{product.x, count}];
    if (to == 0) {
      to = place(count * bfloat_size);
      stage_.casts.push_back({product.x, to, static_cast<std::uint32_t>(count)});
    }
    return to;
  }

  DevicePointer weights(const LargeProduct& product, int matrix) {
    const Planes& planes = product.planes[matrix];
    if (product.is_bfloat()) return product.weights[matrix] + planes[0] * plane_alignment;
    const DevicePointer to = place(std::uint64_t{product.outputs} * product.columns * bfloat_size);
    stage_.dequantized.push_back(
        {product.format, product.weights[matrix], to, product.outputs, product.columns, planes});
    return to;
  }

  // Two neighbours as a batch: the second's weights and results must lie behind the first's.
  void pair() {
    using Multiply = ProductStage::Multiply;
    std::vector<Multiply> paired;
    for (Multiply& next : stage_.multiplied) {
      Multiply* last = paired.empty() ? nullptr : &paired.back();
      const bool is_alike = last && last->shape.batch == 1 && last->x == next.x && !(last->shape < next.shape) &&
                            !(next.shape < last->shape) && last->weights < next.weights && last->y < next.y;
      ProductShape both = next.shape;
      if (is_alike) {
        both.batch = 2;
        both.weight_stride = static_cast<std::int64_t>((next.weights - last->weights) / bfloat_size);
        both.y_stride = static_cast<std::int64_t>((next.y - last->y) / (both.has_bfloat_y ? bfloat_size : float_size));
      }
      if (is_alike && cublas_.can_multiply(both)) {
        last->shape = both;
      } else {
        paired.push_back(next);
      }
    }
    stage_.multiplied = std::move(paired);
  }

  DevicePointer begin_, end_;
  const CublasLt& cublas_;
  std::map<std::tuple<DevicePointer, std::uint64_t>, DevicePointer> rounded_;
  ProductStage stage_;
};

}  // namespace

ProductStage plan_stage(std::vector<LargeProduct> products, DevicePointer scratch, const CublasLt& cublas) {
  const auto key = [](const LargeProduct& p) { return std::make_tuple(p.x, p.outputs, p.columns, p.y); };
  std::sort(products.begin(), products.end(),
            [&](const LargeProduct& a, const LargeProduct& b) { return key(a) < key(b); });
  Planner planner(scratch, cublas);
  for (const LargeProduct& product : products) planner.add(product);
  return planner.finish();
}

}  // namespace softmetal::cuda
