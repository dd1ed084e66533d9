// Native rms_norm, add_rms_norm and sandwich_norm: a threadgroup is a row.
#include "cpu/native/native.h"
#include "cpu/native/row_output.h"
#include "cpu/native/vector.h"
#include "include/norm_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// 1 / sqrt(mean(x^2) + eps) of the row that next(i, type) gives, a vector or a number from element i on.
template <typename Next>
float inverse_rms(const RmsNormArgs& args, const Next& next) {
  Vector sums[2] = {};
  float sum = 0.0f;
  std::uint32_t i = 0;
  for (; i + 2 * width <= args.columns; i += 2 * width) {
    for (int half = 0; half < 2; half++) {
      const Vector x = next(i + half * width, Vector{});
      sums[half] += x * x;
    }
  }
  for (; i + width <= args.columns; i += width) {
    const Vector x = next(i, Vector{});
    sums[0] += x * x;
  }
  for (; i < args.columns; i++) {
    const float x = next(i, 0.0f);
    sum += x * x;
  }
  const float mean = (sum + horizontal_sum(sums[0] + sums[1])) / static_cast<float>(args.columns);
  return 1.0f / __builtin_sqrtf(mean + args.eps);
}

Vector element(const float* x, std::uint32_t i, Vector) { return load(x + i); }
float element(const float* x, std::uint32_t i, float) { return x[i]; }
void put(float* x, std::uint32_t i, Vector v) { store(x + i, v); }
void put(float* x, std::uint32_t i, float v) { x[i] = v; }

// Of a row that stays as it is.
float inverse_rms(const RmsNormArgs& args, const float* x) {
  return inverse_rms(args, [&](std::uint32_t i, auto type) { return element(x, i, type); });
}

// Of x + scale * weight * branch, which x becomes; without weights, of x + branch.
float add_branch(const RmsNormArgs& args, const float* branch, const float* weight, float scale, float* x) {
  return inverse_rms(args, [&](std::uint32_t i, auto type) {
    const auto added = element(branch, i, type);
    const auto sum = element(x, i, type) + (weight == nullptr ? added : added * scale * element(weight, i, type));
    put(x, i, sum);
    return sum;
  });
}

// y = x * scale * weight
template <typename T>
void scale_row(const float* x, const float* weight, float scale, std::uint32_t columns, const RowOutput<T>& y) {
  std::uint32_t i = 0;
  for (; i + width <= columns; i += width) y.write(i, load(x + i) * scale * load(weight + i));
  for (; i < columns; i++) y.write(i, x[i] * scale * weight[i]);
}

template <typename T>
void rms_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    const float* x = static_cast<const float*>(launch.buffers[1]) + row * args.columns;
    const RowOutput<T> y(launch.buffers[3], row * args.columns);
    scale_row(x, static_cast<const float*>(launch.buffers[2]), inverse_rms(args, x), args.columns, y);
  }
}

template <typename T>
void add_rms_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    float* x = static_cast<float*>(launch.buffers[1]) + row * args.columns;
    const float* branch = static_cast<const float*>(launch.buffers[2]) + row * args.columns;
    const RowOutput<T> y(launch.buffers[4], row * args.columns);
    const float scale = add_branch(args, branch, nullptr, 1.0f, x);
    scale_row(x, static_cast<const float*>(launch.buffers[3]), scale, args.columns, y);
  }
}

template <typename T>
void sandwich_norm(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const RmsNormArgs*>(launch.buffers[0]);
  for (std::uint64_t row = begin; row < end; row++) {
    float* x = static_cast<float*>(launch.buffers[1]) + row * args.columns;
    const float* branch = static_cast<const float*>(launch.buffers[2]) + row * args.columns;
    const RowOutput<T> y(launch.buffers[5], row * args.columns);
    const auto* post_weight = static_cast<const float*>(launch.buffers[3]);
    const float scale = add_branch(args, branch, post_weight, inverse_rms(args, branch), x);
    scale_row(x, static_cast<const float*>(launch.buffers[4]), scale, args.columns, y);
  }
}

// The form that the function constant writes_bfloat, the only one of these shaders, asks for.
template <RunRange floats, RunRange bfloats>
void by_output(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  (is_true(launch, 0) ? bfloats : floats)(launch, begin, end);
}

}  // namespace

extern const NativeKernel norm_kernels[] = {
    {"rms_norm", &by_output<&rms_norm<float>, &rms_norm<Bfloat>>},
    {"add_rms_norm", &by_output<&add_rms_norm<float>, &add_rms_norm<Bfloat>>},
    {"sandwich_norm", &by_output<&sandwich_norm<float>, &sandwich_norm<Bfloat>>}};
extern const NativeTable norm_table = {norm_kernels, sizeof(norm_kernels) / sizeof(norm_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
