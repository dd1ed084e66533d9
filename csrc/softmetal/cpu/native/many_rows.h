// Matrix products of many rows (prefill) with weights and inputs rounded to bfloat16, sums in float32.
//
// A panel of 32 outputs is dequantised, rounded and laid out once; all rows then use it. `Tiles` says how an
// instruction set keeps rounded inputs and multiplies them with a panel:
//   Tiles tiles;                                           what the unit needs set up, for as long as it lives
//   Tiles::chunk                                           rows whose results are kept before they are written out
//   Tiles::input_bytes(rows, pairs)                        memory of the rounded inputs
//   Tiles::load_inputs(x, rows, columns, inputs)           rounds all rows, padded with zeros to whole blocks
//   tiles.multiply(inputs, m, rows, pairs, panel, c)       c (chunk, 32): rows [m, m + rows) times a panel
// A call runs whole panels only, those that begin in its part of the grid: a panel cut in two would be computed twice.
#pragma once

#include "cpu/native/activation.h"
#include "cpu/native/bf16_weights.h"
#include "cpu/native/native.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Where a call keeps its rounded inputs, panels and results.
template <typename Tiles>
struct Workspace {
  Workspace(std::uint32_t rows, std::uint32_t columns) : pairs(padded_pairs(columns)) {
    const std::size_t panel_bytes = static_cast<std::size_t>(pairs) * panel_outputs * 4;
    const std::size_t result_bytes = sizeof(float) * Tiles::chunk * panel_outputs;
    panels[0] = scratch(2 * panel_bytes + 2 * result_bytes + Tiles::input_bytes(rows, pairs));
    panels[1] = panels[0] + panel_bytes;
    results[0] = reinterpret_cast<float*>(panels[1] + panel_bytes);
    results[1] = results[0] + Tiles::chunk * panel_outputs;
    inputs = reinterpret_cast<unsigned char*>(results[1] + Tiles::chunk * panel_outputs);
  }

  std::uint32_t pairs;
  unsigned char* panels[2];
  float* results[2];
  unsigned char* inputs;
};

// Calls visit(first output, count) for the panels that begin in the threadgroups [begin, end) of a grid of `groups_x`
// row tiles times groups of `group_outputs`.
template <typename Visit>
void for_each_panel(std::uint64_t begin, std::uint64_t end, std::uint32_t groups_x, std::uint32_t group_outputs,
                    std::uint32_t outputs, const Visit& visit) {
  const std::uint64_t panel_groups = static_cast<std::uint64_t>(panel_outputs / group_outputs) * groups_x;
  const std::uint64_t first = (begin + panel_groups - 1) / panel_groups, last = (end + panel_groups - 1) / panel_groups;
  for (std::uint64_t panel = first; panel < last; panel++) {
    const auto n = static_cast<std::uint32_t>(panel * panel_outputs);
    visit(n, smaller(panel_outputs, outputs - n));
  }
}

template <typename Format, typename Tiles>
void matmul_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  const auto* x = static_cast<const float*>(launch.buffers[2]);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t group_outputs = BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const Workspace<Tiles> work(args.rows, args.columns);
  const Tiles tiles;
  bool has_inputs = false;
  for_each_panel(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, [&](auto n, auto count) {
    if (!has_inputs) Tiles::load_inputs(x, args.rows, args.columns, work.inputs);
    has_inputs = true;
    load_panel<Format>(planes, n, count, args.columns, work.panels[0]);
    for (std::uint32_t m = 0; m < args.rows; m += Tiles::chunk) {
      const std::uint32_t rows = smaller(Tiles::chunk, args.rows - m);
      tiles.multiply(work.inputs, m, rows, work.pairs, work.panels[0], work.results[0]);
      for (std::uint32_t i = 0; i < rows; i++) {
        std::memcpy(y + static_cast<std::size_t>(m + i) * args.outputs + n, work.results[0] + i * panel_outputs,
                    count * 4);
      }
    }
  });
}

template <typename Format, typename Tiles>
void matmul_glu_many(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  const auto* x = static_cast<const float*>(launch.buffers[3]);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t group_outputs = GLU_BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const Workspace<Tiles> work(args.rows, args.columns);
  const Tiles tiles;
  bool has_inputs = false;
  for_each_panel(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, [&](auto n, auto count) {
    if (!has_inputs) Tiles::load_inputs(x, args.rows, args.columns, work.inputs);
    has_inputs = true;
    load_panel<Format>(gate_planes, n, count, args.columns, work.panels[0]);
    load_panel<Format>(up_planes, n, count, args.columns, work.panels[1]);
    for (std::uint32_t m = 0; m < args.rows; m += Tiles::chunk) {
      const std::uint32_t rows = smaller(Tiles::chunk, args.rows - m);
      for (int side = 0; side < 2; side++) {
        tiles.multiply(work.inputs, m, rows, work.pairs, work.panels[side], work.results[side]);
      }
      for (std::uint32_t i = 0; i < rows; i++) {
        float* gate = work.results[0] + i * panel_outputs;
        const float* up = work.results[1] + i * panel_outputs;
        for (std::uint32_t j = 0; j < panel_outputs; j += width) {
          store(gate + j, activate(args.activation, load(gate + j)) * load(up + j));
        }
        std::memcpy(y + static_cast<std::size_t>(m + i) * args.outputs + n, gate, count * 4);
      }
    }
  });
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
