// Native rms_norm, add_rms_norm and sandwich_norm: a threadgroup is a row.
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/vector.h"
#include "include/norm_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

float inverse_rms(const float* x, const RmsNormArgs& args) {
  Vector sums = {};
  float sum = 0.0f;
  std::uint32_t i = 0;
  for (; i + width <= args.columns; i += width) sums += load(x + i) * load(x + i);
  for (; i < args.columns; i++) sum += x[i] * x[i];
  const float mean = (sum + horizontal_sum(sums)) / static_cast<float>(args.columns);
  return 1.0f / __builtin_sqrtf(mean + args.eps);
}

// y = x * scale * weight, plus y itself if `accumulate`.
template <bool accumulate>
void scale_row(const float* x, const float* weight, float scale, std::uint32_t columns, float* y) {
  std::uint32_t i = 0;
  for (; i + width <= columns; i += width) {
    const Vector scaled = load(x + i) * scale * load(weight + i);
    store(y + i, accumulate ? load(y + i) + scaled : scaled);
  }
  for (; i < columns; i++) y[i] = (accumulate ? y[i] : 0.0f) + x[i] * scale * weight[i];
}

void rms_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    const float* x = static_cast<const float*>(launch.buffers[1]) + row * args.columns;
    float* y = static_cast<float*>(launch.buffers[3]) + row * args.columns;
    scale_row<false>(x, static_cast<const float*>(launch.buffers[2]), inverse_rms(x, args), args.columns, y);
  }
}

void add_rms_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    float* x = static_cast<float*>(launch.buffers[1]) + row * args.columns;
    const float* branch = static_cast<const float*>(launch.buffers[2]) + row * args.columns;
    float* y = static_cast<float*>(launch.buffers[4]) + row * args.columns;
    for (std::uint32_t i = 0; i < args.columns; i++) x[i] += branch[i];
    scale_row<false>(x, static_cast<const float*>(launch.buffers[3]), inverse_rms(x, args), args.columns, y);
  }
}

void sandwich_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    float* x = static_cast<float*>(launch.buffers[1]) + row * args.columns;
    const float* branch = static_cast<const float*>(launch.buffers[2]) + row * args.columns;
    float* y = static_cast<float*>(launch.buffers[5]) + row * args.columns;
    scale_row<true>(branch, static_cast<const float*>(launch.buffers[3]), inverse_rms(branch, args), args.columns, x);
    scale_row<false>(x, static_cast<const float*>(launch.buffers[4]), inverse_rms(x, args), args.columns, y);
  }
}

}  // namespace

extern const NativeKernel norm_kernels[] = {
    {"rms_norm", &rms_norm}, {"add_rms_norm", &add_rms_norm}, {"sandwich_norm", &sandwich_norm}};
extern const NativeTable norm_table = {norm_kernels, sizeof(norm_kernels) / sizeof(norm_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
