// Native expert products: of every chosen expert a weight row is dequantised once and multiplied with all its tokens.
#include "cpu/native/activation.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"
#include "include/moe_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t max_pairs = 4 * BATCH_ROWS;  // multiplied with one dequantised row

std::size_t padded(std::uint32_t columns) { return (static_cast<std::size_t>(columns) + 31) / 32 * 32; }

// out[i] = row . x[i] for `count` rows of x; four at a time share the loads of the weights.
void multiply_row(const float* row, std::uint32_t columns, const float* const* x, std::uint32_t count, float* out) {
  for (std::uint32_t i = 0; i < count; i += 4) {
    const float* inputs[4];
    for (std::uint32_t m = 0; m < 4; m++) inputs[m] = x[smaller(i + m, count - 1)];
    Vector sums[4] = {};
    std::uint32_t k = 0;
    for (; k + width <= columns; k += width) {
      const Vector weights = load(row + k);
      for (int m = 0; m < 4; m++) sums[m] += weights * load(inputs[m] + k);
    }
    for (std::uint32_t m = 0; m < smaller(4, count - i); m++) {
      out[i + m] = horizontal_sum(sums[m]);
      for (std::uint32_t t = k; t < columns; t++) out[i + m] += row[t] * inputs[m][t];
    }
  }
}

// Some pairs of token and expert, all of one expert.
struct Run {
  std::uint32_t expert, count;
  std::uint32_t pairs[max_pairs];
  const float* x[max_pairs];

  void add(std::uint32_t pair, const float* inputs, std::uint32_t pairs_per_row, std::uint32_t columns) {
    pairs[count] = pair;
    x[count++] = inputs + static_cast<std::size_t>(pair / pairs_per_row) * columns;
  }
};

// The products of one kernel: y of some outputs of a run.
template <typename Format>
struct Plain {
  using Args = MoeMatmulArgs;
  static constexpr int weights = 1;
  static constexpr std::uint32_t vector_outputs = VECTOR_OUTPUTS, grouped_outputs = BATCH_OUTPUTS;

  Plain(const Launch& launch, const Args& a) : args(a), planes(launch.buffers[1], a.planes) {}

  void operator()(const Run& run, std::uint32_t output, float* row, float* out) const {
    load_row<Format>(planes, static_cast<std::uint64_t>(run.expert) * args.outputs + output, args.columns, row);
    multiply_row(row, args.columns, run.x, run.count, out);
  }

  const Args& args;
  const Planes planes;
};

template <typename Format>
struct Gated {
  using Args = MoeMatmulGluArgs;
  static constexpr int weights = 2;
  static constexpr std::uint32_t vector_outputs = GLU_VECTOR_OUTPUTS, grouped_outputs = GLU_BATCH_OUTPUTS;

  Gated(const Launch& launch, const Args& a)
      : args(a), gate(launch.buffers[1], a.gate_planes), up(launch.buffers[2], a.up_planes) {}

  void operator()(const Run& run, std::uint32_t output, float* row, float* out) const {
    const std::uint64_t weight_row = static_cast<std::uint64_t>(run.expert) * args.outputs + output;
    float gates[max_pairs];
    load_row<Format>(gate, weight_row, args.columns, row);
    multiply_row(row, args.columns, run.x, run.count, gates);
    load_row<Format>(up, weight_row, args.columns, row);
    multiply_row(row, args.columns, run.x, run.count, out);
    for (std::uint32_t i = 0; i < run.count; i++) out[i] *= activate(args.activation, gates[i]);
  }

  const Args& args;
  const Planes gate, up;
};

template <typename Products>
void multiply_run(const Products& products, const Run& run, std::uint32_t first_output, std::uint32_t last_output,
                  float* row, float* y) {
  for (std::uint32_t n = first_output; n < last_output; n++) {
    float out[max_pairs];
    products(run, n, row, out);
    for (std::uint32_t i = 0; i < run.count; i++) {
      y[static_cast<std::size_t>(run.pairs[i]) * products.args.outputs + n] = out[i];
    }
  }
}

template <typename Products>
void moe_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  constexpr int x_index = Products::weights + 1;
  const auto& args = *static_cast<const typename Products::Args*>(launch.buffers[0]);
  const Products products(launch, args);
  const auto* x = static_cast<const float*>(launch.buffers[x_index]);
  const auto* experts = static_cast<const std::uint32_t*>(launch.buffers[x_index + 1]);
  auto* y = static_cast<float*>(launch.buffers[x_index + 2]);
  const std::uint32_t group_outputs = Products::vector_outputs * launch.threads_per_threadgroup.x / 32;
  auto* row = reinterpret_cast<float*>(scratch(padded(args.columns) * sizeof(float)));
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    for (std::uint32_t pair = x0; pair < x1; pair++) {
      Run run = {};
      run.expert = smaller(experts[pair], args.num_experts - 1);
      run.add(pair, x, args.pairs_per_row, args.columns);
      multiply_run(products, run, y0 * group_outputs, smaller(y1 * group_outputs, args.outputs), row, y);
    }
  });
}

template <typename Products>
void moe_grouped(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  constexpr int x_index = Products::weights + 1;
  const auto& args = *static_cast<const typename Products::Args*>(launch.buffers[0]);
  const Products products(launch, args);
  const auto* x = static_cast<const float*>(launch.buffers[x_index]);
  const auto* order = static_cast<const std::uint32_t*>(launch.buffers[x_index + 1]);
  const auto* tiles = static_cast<const MoeTile*>(launch.buffers[x_index + 2]);
  auto* y = static_cast<float*>(launch.buffers[x_index + 3]);
  const std::uint32_t group_outputs = Products::grouped_outputs * launch.threads_per_threadgroup.x / 32;
  auto* row = reinterpret_cast<float*>(scratch(padded(args.columns) * sizeof(float)));
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    // Neighbouring pairs of one expert make one run.
    Run run = {};
    const auto multiply = [&] {
      if (run.count == 0) return;
      multiply_run(products, run, y0 * group_outputs, smaller(y1 * group_outputs, args.outputs), row, y);
      run.count = 0;
    };
    for (std::uint32_t t = x0; t < x1; t++) {
      for (int i = tiles[t].begin; i < tiles[t].end; i++) {
        const auto expert = static_cast<std::uint32_t>(tiles[t].expert);
        if (expert != run.expert || run.count == max_pairs) multiply();
        run.expert = expert;
        run.add(order[i], x, args.pairs_per_row, args.columns);
      }
    }
    multiply();
  });
}

#define FASTGO_MOE_KERNELS(name, Format)                                                                         \
  {"moe_matmul_" #name, &moe_vector<Plain<Format>>}, {"moe_matmul_grouped_" #name, &moe_grouped<Plain<Format>>}, \
      {"moe_matmul_glu_" #name, &moe_vector<Gated<Format>>},                                                     \
      {"moe_matmul_glu_grouped_" #name, &moe_grouped<Gated<Format>>},

}  // namespace

extern const NativeKernel moe_kernels[] = {FASTGO_FOR_EACH_FORMAT(FASTGO_MOE_KERNELS)};
extern const NativeTable moe_table = {moe_kernels, sizeof(moe_kernels) / sizeof(moe_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
