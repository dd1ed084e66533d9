// Matrix products of many rows (prefill) with weights and inputs rounded to bfloat16, sums in float32.
//
// Panels of 32 outputs are dequantised, rounded and laid out once for a block of rows. `Tiles` says how an instruction
// set keeps rounded inputs and multiplies them with panels:
//   Tiles tiles;                                       what the unit needs set up, for as long as it lives
//   Tiles::input_bytes(rows, pairs)                    memory of the rounded inputs
//   Tiles::units(rows)                                 parts in which inputs are rounded
//   Tiles::load_inputs(x, rows, columns, begin, end, inputs)     rounds those parts, padded with zeros to whole blocks
//   Tiles::whole(rows)                                 how many of so many rows can be multiplied without padding
//   tiles.multiply(inputs, m, rows, pairs, panel, results)     rows [m, m + rows) times a panel
// Inputs that are bfloat16 already, in whole blocks, are read where they lie; see InputRows.
#pragma once

#include "cpu/native/activation.h"
#include "cpu/native/bf16_weights.h"
#include "cpu/native/finish.h"
#include "cpu/native/native.h"
#include "cpu/native/row_output.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Rows of a block: what a thread does to them stays in an L2 cache of 2 MB from kernel to kernel.
constexpr std::uint32_t most_rows = 256;
// Rows whose gates are applied together: whole tiles of both units.
constexpr std::uint32_t gated_rows = 96;

// A kernel's arguments, the index of its inputs' buffer and of the function constant reads_bfloat, and how many
// matrices it multiplies the inputs with.
template <typename A>
struct ProductOf {
  using Args = A;
  static const Args& args(const Launch& launch) { return *static_cast<const Args*>(launch.buffers[0]); }
};
struct PlainProduct : ProductOf<MatmulArgs> {
  static constexpr int x = 2, reads_bfloat = 2, matrices = 1;
};
struct GatedProduct : ProductOf<MatmulGluArgs> {
  static constexpr int x = 3, writes_bfloat = 0, reads_bfloat = 1, matrices = 2;
};

// Rounded inputs: as Tiles::load_inputs lays them out, or row after row as they came, with `last` in that layout being
// the rows beyond the last whole tile.
struct InputRows {
  const unsigned char *laid_out, *as_they_came, *last;
};

// Where products go: `row` floats from a row to the next.
struct Results {
  float* c;
  std::size_t row;
};

// What a launch multiplies.
template <typename Product, typename Tiles>
class ManyInputs {
 public:
  explicit ManyInputs(const Launch& launch)
      : args_(Product::args(launch)),
        x_(launch.buffers[Product::x]),
        is_bfloat_(is_true(launch, Product::reads_bfloat)) {}

  // Whether they can be read where they lie.
  bool is_direct() const { return is_bfloat_ && args_.columns % block_weights == 0; }

  std::size_t bytes() const { return bytes_of(args_.rows); }
  // Of those that can't be read where they lie although the others can.
  std::size_t last_bytes() const { return bytes_of(last_rows()); }

  void load(std::uint32_t begin, std::uint32_t end, unsigned char* inputs) const {
    if (is_bfloat_) {
      Tiles::load_inputs(static_cast<const Bfloat*>(x_), args_.rows, args_.columns, begin, end, inputs);
    } else {
      Tiles::load_inputs(static_cast<const float*>(x_), args_.rows, args_.columns, begin, end, inputs);
    }
  }

  // Makes what is_direct() leaves to be done; `last`: of last_bytes.
  InputRows direct(unsigned char* last) const {
    const std::size_t first = std::size_t{args_.rows - last_rows()} * args_.columns;
    Tiles::load_inputs(static_cast<const Bfloat*>(x_) + first, last_rows(), args_.columns, 0, Tiles::units(last_rows()),
                       last);
    return {nullptr, static_cast<const unsigned char*>(x_), last};
  }

 private:
  std::uint32_t last_rows() const { return args_.rows - Tiles::whole(args_.rows); }
  std::size_t bytes_of(std::uint32_t rows) const { return Tiles::input_bytes(rows, padded_pairs(args_.columns)); }

  const typename Product::Args& args_;
  const void* x_;
  bool is_bfloat_;
};

// Rounds the inputs for all pieces of a launch.
template <typename Product, typename Tiles>
struct RoundedInputs {
  using All = ManyInputs<Product, Tiles>;
  static std::uint64_t bytes(const Launch& launch) { return All(launch).is_direct() ? 0 : All(launch).bytes(); }
  static std::uint64_t units(const Launch& launch) { return Tiles::units(Product::args(launch).rows); }
  static void run(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
    if (bytes(launch) != launch.prepared_bytes) return;  // arguments have changed since: each call then does it all
    All(launch).load(static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end), launch.prepared);
  }
  static constexpr Preparation preparation{&bytes, &units, &run, Product::x};
};

// Where a call keeps a panel and results; the rounded inputs, its own unless they are prepared.
template <typename Product, typename Tiles>
class Workspace {
 public:
  explicit Workspace(const Launch& launch) {
    const auto& args = Product::args(launch);
    pairs = padded_pairs(args.columns);
    const std::size_t panel_bytes = static_cast<std::size_t>(pairs) * panel_outputs * 4;
    const ManyInputs<Product, Tiles> source(launch);
    const bool is_direct = source.is_direct();
    const bool is_prepared = launch.prepared != nullptr && launch.prepared_bytes == source.bytes();
    const std::size_t input_bytes = is_direct ? source.last_bytes() : is_prepared ? 0 : source.bytes();
    const std::size_t float_count = Product::matrices * result_floats + panel_scales(args.columns);
    panel = scratch(panel_bytes + float_count * sizeof(float) + input_bytes);
    results_ = reinterpret_cast<float*>(panel + panel_bytes);
    scales = results_ + Product::matrices * result_floats;
    auto* own = reinterpret_cast<unsigned char*>(results_ + float_count);
    if (is_direct) {
      inputs = source.direct(own);
    } else {
      if (!is_prepared) source.load(0, Tiles::units(args.rows), own);
      inputs = {is_prepared ? launch.prepared : own, nullptr, nullptr};
    }
  }

  float* results(std::uint32_t matrix = 0) const { return results_ + matrix * result_floats; }

  std::uint32_t pairs;
  unsigned char* panel;
  float* scales;
  InputRows inputs;

 private:
  static constexpr std::size_t result_floats = std::size_t{most_rows} * panel_outputs;

  float* results_;
};

// Rows [row, end_row) times the `count` outputs of the panel that begins with `output`.
struct PanelWork {
  std::uint32_t row, end_row, output, count;
};

// A launch is blocks of rows, one after the other, times all panels, so that threads keep to rows of their own. Calls
// multiply(work) for those panels whose share of the grid begins in [begin, end).
template <typename Multiply>
void for_each_panel(const Launch& launch, std::uint64_t begin, std::uint64_t end, std::uint32_t rows,
                    std::uint32_t outputs, const Multiply& multiply) {
  const std::uint64_t groups = std::uint64_t{launch.threadgroups_per_grid.x} * launch.threadgroups_per_grid.y;
  const std::uint32_t blocks = (rows + most_rows - 1) / most_rows;
  const std::uint32_t block_rows = ((rows + blocks - 1) / blocks + 31) / 32 * 32;
  const std::uint32_t panels = (outputs + panel_outputs - 1) / panel_outputs;
  const std::uint64_t first = (begin * blocks * panels + groups - 1) / groups;
  const std::uint64_t last = (end * blocks * panels + groups - 1) / groups;
  for (std::uint64_t i = first; i < last; i++) {
    const auto row = static_cast<std::uint32_t>(i / panels) * block_rows;
    const auto output = static_cast<std::uint32_t>(i % panels) * panel_outputs;
    multiply(PanelWork{smaller(row, rows), smaller(row + block_rows, rows), output,
                       smaller(panel_outputs, outputs - output)});
  }
}

// Lanes of the first `count` of 32 numbers.
inline __mmask32 first_lanes(std::uint32_t count) { return count < panel_outputs ? (1u << count) - 1 : ~0u; }

// The first `count` of a panel's row of results.
inline void store_row(__m512 first, __m512 last, std::uint32_t count, float* out) {
  const std::uint32_t mask = first_lanes(count);
  _mm512_mask_storeu_ps(out, static_cast<__mmask16>(mask), first);
  _mm512_mask_storeu_ps(out + 16, static_cast<__mmask16>(mask >> 16), last);
}

// Of `count` outputs of `rows` rows, to `out`, whose rows are `stride` floats apart.
inline void copy_results(const float* results, std::uint32_t rows, std::uint32_t count, float* out,
                         std::size_t stride) {
  for (std::uint32_t i = 0; i < rows; i++, results += panel_outputs) {
    store_row(_mm512_load_ps(results), _mm512_load_ps(results + 16), count, out + i * stride);
  }
}

// Whole tiles of rows times whole panels go straight into y; what is left goes by way of the workspace.
template <typename Format, typename Tiles>
void matmul_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = PlainProduct::args(launch);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const Workspace<PlainProduct, Tiles> workspace(launch);
  const Finish finish(launch);
  const Tiles tiles;
  const auto multiply = [&](const PanelWork& work) {
    load_panel<Format>(planes, work.output, work.count, args.columns, workspace.panel, workspace.scales);
    const std::uint32_t rows = work.end_row - work.row, n = work.output, count = work.count;
    const std::uint32_t direct = count == panel_outputs ? Tiles::whole(rows) : 0;
    float* out = y + static_cast<std::size_t>(work.row) * args.outputs + n;
    const auto multiply_some = [&](std::uint32_t first, std::uint32_t last, const Results& results) {
      if (first == last) return;
      tiles.multiply(workspace.inputs, work.row + first, last - first, workspace.pairs, workspace.panel, results);
    };
    multiply_some(0, direct, {out, args.outputs});
    multiply_some(direct, rows, {workspace.results(), panel_outputs});
    copy_results(workspace.results(), rows - direct, count, out + std::size_t{direct} * args.outputs, args.outputs);
    for (std::uint32_t i = 0; finish.is_needed() && i < rows; i++)
      finish(out + std::size_t{i} * args.outputs, n, n + count);
  };
  for_each_panel(launch, begin, end, args.rows, args.outputs, multiply);
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
  // From 2^115 on the reciprocal counts as zero: further on it would be no normal number.
  const __mmask16 is_near = _mm512_cmp_ps_mask(argument, _mm512_set1_ps(115.0f), _CMP_NGE_UQ);
  const __m512 divisor = _mm512_add_ps(coarse_power(argument), _mm512_set1_ps(1.0f));
  return _mm512_mul_ps(x, _mm512_maskz_rcp14_ps(is_near, divisor));
}

// The first `count` outputs of a panel's row of gates and of its row of factors, to element `at` of y.
inline void gate_row(std::uint32_t activation, const float* gate, const float* up, std::uint32_t count, void* y,
                     std::size_t at, bool is_bfloat) {
  const auto half = [&](int j) {
    return _mm512_mul_ps(activate_coarsely(activation, _mm512_load_ps(gate + j)), _mm512_load_ps(up + j));
  };
  if (is_bfloat) {
    _mm512_mask_storeu_epi16(static_cast<Bfloat*>(y) + at, first_lanes(count), round_pairs(half(0), half(16)));
  } else {
    store_row(half(0), half(16), count, static_cast<float*>(y) + at);
  }
}

template <typename Format, typename Tiles>
void matmul_glu_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = GatedProduct::args(launch);
  const Planes matrices[] = {Planes(launch.buffers[1], args.gate_planes), Planes(launch.buffers[2], args.up_planes)};
  const bool is_bfloat = is_true(launch, GatedProduct::writes_bfloat);
  const Workspace<GatedProduct, Tiles> workspace(launch);
  const Tiles tiles;
  const auto load = [&](const PanelWork& work, std::uint32_t matrix) {
    load_panel<Format>(matrices[matrix], work.output, work.count, args.columns, workspace.panel, workspace.scales);
  };
  const auto multiply = [&](const PanelWork& work) {
    load(work, 0);
    tiles.multiply(workspace.inputs, work.row, work.end_row - work.row, workspace.pairs, workspace.panel,
                   {workspace.results(0), panel_outputs});
    load(work, 1);
    // A few rows at a time, so that their factors are still in the L1 cache when gates meet them.
    for (std::uint32_t row = work.row; row < work.end_row; row += gated_rows) {
      const std::uint32_t rows = smaller(gated_rows, work.end_row - row);
      tiles.multiply(workspace.inputs, row, rows, workspace.pairs, workspace.panel,
                     {workspace.results(1), panel_outputs});
      const float* gates = workspace.results(0) + std::size_t{row - work.row} * panel_outputs;
      for (std::uint32_t i = 0; i < rows; i++) {
        const std::size_t at = static_cast<std::size_t>(row + i) * args.outputs + work.output;
        gate_row(args.activation, gates + i * panel_outputs, workspace.results(1) + i * panel_outputs, work.count,
                 launch.buffers[4], at, is_bfloat);
      }
    }
  };
  for_each_panel(launch, begin, end, args.rows, args.outputs, multiply);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
