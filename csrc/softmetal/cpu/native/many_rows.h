// Matrix products of many rows (prefill) with weights and inputs rounded to bfloat16, sums in float32.
//
// Panels of 32 outputs are dequantised, rounded and laid out once; all rows then use them. `Tiles` says how an
// instruction set keeps rounded inputs and multiplies them with panels:
//   Tiles tiles;                                       what the unit needs set up, for as long as it lives
//   Tiles::chunk                                       rows whose results are kept before they are written out
//   Tiles::panels                                      panels at a time, an even number
//   Tiles::input_bytes(rows, pairs)                    memory of the rounded inputs
//   Tiles::units(rows)                                 parts in which inputs are rounded
//   Tiles::load_inputs(x, rows, columns, begin, end, inputs)     rounds those parts, padded with zeros to whole blocks
//   Tiles::whole(rows)                                 how many of so many rows can be multiplied without padding
//   tiles.multiply(inputs, m, rows, pairs, panels, count, c)     rows [m, m + rows) times panels; c: Results
// A call runs whole panels only, those that begin in its part of the grid: a panel cut in two would be computed twice.
#pragma once

#include "cpu/native/activation.h"
#include "cpu/native/bf16_weights.h"
#include "cpu/native/finish.h"
#include "cpu/native/native.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// A kernel's arguments and the index of its inputs' buffer.
struct PlainProduct {
  using Args = MatmulArgs;
  static constexpr int x = 2;
};
struct GatedProduct {
  using Args = MatmulGluArgs;
  static constexpr int x = 3;
};

// Where products go, in floats: from a panel's 32 outputs to the next panel's, from a row to the next.
struct Results {
  float* c;
  std::size_t panel, row;
};

// Rounds the inputs for all pieces of a launch.
template <typename Product, typename Tiles>
struct RoundedInputs {
  static const typename Product::Args& args(const Launch& launch) {
    return *static_cast<const typename Product::Args*>(launch.buffers[0]);
  }
  static std::uint64_t bytes(const Launch& launch) {
    return Tiles::input_bytes(args(launch).rows, padded_pairs(args(launch).columns));
  }
  static std::uint64_t units(const Launch& launch) { return Tiles::units(args(launch).rows); }
  static void run(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
    const auto& a = args(launch);
    Tiles::load_inputs(static_cast<const float*>(launch.buffers[Product::x]), a.rows, a.columns,
                       static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), launch.prepared);
  }
};

// Where a call keeps its panels and results; the rounded inputs, its own unless they are prepared.
template <typename Product, typename Tiles>
class Workspace {
 public:
  explicit Workspace(const Launch& launch) {
    const auto& args = *static_cast<const typename Product::Args*>(launch.buffers[0]);
    pairs = padded_pairs(args.columns);
    panel_bytes = static_cast<std::size_t>(pairs) * panel_outputs * 4;
    const std::size_t input_bytes = Tiles::input_bytes(args.rows, pairs);
    const bool is_prepared = launch.prepared != nullptr && launch.prepared_bytes == input_bytes;
    const std::size_t float_count = Tiles::panels * result_floats + panel_scales(args.columns);
    panels = scratch(Tiles::panels * panel_bytes + float_count * sizeof(float) + (is_prepared ? 0 : input_bytes));
    results = reinterpret_cast<float*>(panels + Tiles::panels * panel_bytes);
    scales = results + Tiles::panels * result_floats;
    inputs = launch.prepared;
    if (is_prepared) return;
    auto* own = reinterpret_cast<unsigned char*>(results + float_count);
    Tiles::load_inputs(static_cast<const float*>(launch.buffers[Product::x]), args.rows, args.columns, 0,
                       Tiles::units(args.rows), own);
    inputs = own;
  }

  unsigned char* panel(std::uint32_t i) const { return panels + i * panel_bytes; }
  float* result(std::uint32_t panel, std::uint32_t row) const {
    return results + panel * result_floats + row * panel_outputs;
  }
  Results kept_results() const { return {results, result_floats, panel_outputs}; }

  std::uint32_t pairs;
  std::size_t panel_bytes;
  unsigned char* panels;
  float* results;
  float* scales;
  const unsigned char* inputs;

 private:
  static constexpr std::size_t result_floats = std::size_t{Tiles::chunk} * panel_outputs;
};

// Calls visit(first output, count) for up to `panels` of those panels at a time that begin in the threadgroups
// [begin, end) of a grid of `groups_x` row tiles times groups of `group_outputs`.
template <typename Visit>
void for_each_panels(std::uint64_t begin, std::uint64_t end, std::uint32_t groups_x, std::uint32_t group_outputs,
                     std::uint32_t outputs, std::uint32_t panels, const Visit& visit) {
  const std::uint64_t panel_groups = static_cast<std::uint64_t>(panel_outputs / group_outputs) * groups_x;
  const std::uint64_t first = (begin + panel_groups - 1) / panel_groups, last = (end + panel_groups - 1) / panel_groups;
  const auto last_output = smaller(static_cast<std::uint32_t>(last * panel_outputs), outputs);
  for (auto n = static_cast<std::uint32_t>(first * panel_outputs); n < last_output; n += panels * panel_outputs) {
    visit(n, smaller(panels * panel_outputs, last_output - n));
  }
}

// Fills the panels of `count` outputs from `first` on; returns how many.
template <typename Format>
std::uint32_t load_panels(const Planes& planes, std::uint32_t first, std::uint32_t count, std::uint32_t columns,
                          unsigned char* panels, std::size_t panel_bytes, float* memory) {
  std::uint32_t panel = 0;
  for (; panel * panel_outputs < count; panel++) {
    const std::uint32_t at = panel * panel_outputs;
    load_panel<Format>(planes, first + at, smaller(panel_outputs, count - at), columns, panels + panel * panel_bytes,
                       memory);
  }
  return panel;
}

// The first `count` of a panel's row of results.
inline void store_row(__m512 first, __m512 last, std::uint32_t count, float* out) {
  const std::uint32_t mask = count < panel_outputs ? (1u << count) - 1 : ~0u;
  _mm512_mask_storeu_ps(out, static_cast<__mmask16>(mask), first);
  _mm512_mask_storeu_ps(out + 16, static_cast<__mmask16>(mask >> 16), last);
}

// Of `count` outputs of `rows` rows, to `out`, whose rows are `stride` floats apart.
template <typename Work>
void copy_results(const Work& work, std::uint32_t rows, std::uint32_t panels, std::uint32_t count, float* out,
                  std::size_t stride) {
  for (std::uint32_t i = 0; i < rows; i++) {
    for (std::uint32_t p = 0; p < panels; p++) {
      const float* row = work.result(p, i);
      const std::uint32_t at = p * panel_outputs;
      store_row(_mm512_load_ps(row), _mm512_load_ps(row + 16), count - at, out + i * stride + at);
    }
  }
}

// Whole tiles of rows times whole panels go straight into y; what is left goes by way of the workspace.
template <typename Format, typename Tiles>
void matmul_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t group_outputs = BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const Workspace<PlainProduct, Tiles> work(launch);
  const Finish finish(launch);
  const Tiles tiles;
  const auto visit = [&](std::uint32_t n, std::uint32_t count) {
    const std::uint32_t panels =
        load_panels<Format>(planes, n, count, args.columns, work.panels, work.panel_bytes, work.scales);
    for (std::uint32_t m = 0; m < args.rows;) {
      std::uint32_t rows = smaller(Tiles::chunk, args.rows - m);
      float* out = y + static_cast<std::size_t>(m) * args.outputs + n;
      const bool is_direct = count % panel_outputs == 0 && Tiles::whole(rows) != 0;
      if (is_direct) {
        rows = Tiles::whole(rows);
        tiles.multiply(work.inputs, m, rows, work.pairs, work.panels, panels, {out, panel_outputs, args.outputs});
      } else {
        tiles.multiply(work.inputs, m, rows, work.pairs, work.panels, panels, work.kept_results());
        copy_results(work, rows, panels, count, out, args.outputs);
      }
      m += rows;
      if (finish.is_needed()) {
        for (std::uint32_t i = 0; i < rows; i++) finish(out + std::size_t{i} * args.outputs, n, n + count);
      }
    }
  };
  for_each_panels(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, Tiles::panels, visit);
}

// As activate(), to 2e-4 or so, which is finer than the bfloat16 that most outputs become next.
inline __m512 activate_coarsely(std::uint32_t activation, __m512 x) {
  if (activation != GELU_TANH && activation != SILU) {
    return reinterpret_cast<__m512>(activate(activation, reinterpret_cast<Vector>(x)));
  }
  __m512 argument = _mm512_mul_ps(x, _mm512_set1_ps(-log2_of_e));
  if (activation == GELU_TANH) {
    const __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(0.044715f), _mm512_set1_ps(1.0f));
    argument = _mm512_mul_ps(_mm512_mul_ps(argument, _mm512_set1_ps(1.5957691216057308f)), cubic);
  }
  // Beyond 2^115 the reciprocal is as good as zero.
  const __m512 power = coarse_power(_mm512_min_ps(argument, _mm512_set1_ps(115.0f)));
  return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(power, _mm512_set1_ps(1.0f))));
}

// The first `count` outputs of a panel's row of gates and of its row of factors.
inline void gate_row(std::uint32_t activation, const float* gate, const float* up, std::uint32_t count, float* out) {
  const auto half = [&](int j) {
    return _mm512_mul_ps(activate_coarsely(activation, _mm512_load_ps(gate + j)), _mm512_load_ps(up + j));
  };
  store_row(half(0), half(16), count, out);
}

template <typename Format, typename Tiles>
void matmul_glu_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  constexpr std::uint32_t half = Tiles::panels / 2;
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t group_outputs = GLU_BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const Workspace<GatedProduct, Tiles> work(launch);
  const Tiles tiles;
  const auto visit = [&](std::uint32_t n, std::uint32_t count) {
    const std::uint32_t gates =
        load_panels<Format>(gate_planes, n, count, args.columns, work.panels, work.panel_bytes, work.scales);
    load_panels<Format>(up_planes, n, count, args.columns, work.panel(gates), work.panel_bytes, work.scales);
    for (std::uint32_t m = 0; m < args.rows; m += Tiles::chunk) {
      const std::uint32_t rows = smaller(Tiles::chunk, args.rows - m);
      tiles.multiply(work.inputs, m, rows, work.pairs, work.panels, 2 * gates, work.kept_results());
      for (std::uint32_t i = 0; i < rows; i++) {
        float* out = y + static_cast<std::size_t>(m + i) * args.outputs + n;
        for (std::uint32_t p = 0; p < gates; p++) {
          const std::uint32_t at = p * panel_outputs;
          gate_row(args.activation, work.result(p, i), work.result(gates + p, i), count - at, out + at);
        }
      }
    }
  };
  for_each_panels(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, half, visit);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
