// Native matmul and matmul_glu: weight rows are dequantised once into a tile of floats, then multiplied with all rows.
//
// Inner products run along the columns, MR x NR of them at a time, so no transposition is needed.
#include "cpu/native/activation.h"
#include "cpu/native/finish.h"
#include "cpu/native/head.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr int tile_rows = 4;
constexpr int tile_outputs = width == 16 ? 4 : 2;  // what the registers hold
constexpr std::uint32_t panel_outputs = 32;        // dequantised at a time

// out[i][j] = a[i] . b[j] over `columns` floats; row i of a is at a + i * a_stride.
template <int rows, int outputs>
inline void inner_products(const float* a, std::size_t a_stride, const float* b, std::size_t b_stride,
                           std::uint32_t columns, float out[rows][outputs]) {
  Vector sums[rows][outputs] = {};
  std::uint32_t k = 0;
  for (; k + width <= columns; k += width) {
    Vector bv[outputs];
    for (int j = 0; j < outputs; j++) bv[j] = load(b + j * b_stride + k);
    for (int i = 0; i < rows; i++) {
      const Vector av = load(a + i * a_stride + k);
      for (int j = 0; j < outputs; j++) sums[i][j] += av * bv[j];
    }
  }
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < outputs; j++) {
      float sum = horizontal_sum(sums[i][j]);
      for (std::uint32_t t = k; t < columns; t++) sum += a[i * a_stride + t] * b[j * b_stride + t];
      out[i][j] = sum;
    }
  }
}

// c (rows, panel_outputs) = a . panel^T; panel rows beyond the wanted ones hold anything finite.
void multiply_panel(const float* a, std::uint32_t rows, std::uint32_t columns, const float* panel,
                    std::size_t panel_stride, std::uint32_t outputs, float* c) {
  for (std::uint32_t i = 0; i < rows;) {
    const bool full = i + tile_rows <= rows;
    for (std::uint32_t j = 0; j < outputs; j += tile_outputs) {
      const float* x = a + static_cast<std::size_t>(i) * columns;
      const float* b = panel + j * panel_stride;
      float out[tile_rows][tile_outputs];
      if (full) {
        inner_products<tile_rows, tile_outputs>(x, columns, b, panel_stride, columns, out);
      } else {
        inner_products<1, tile_outputs>(x, columns, b, panel_stride, columns, out);
      }
      for (int m = 0; m < (full ? tile_rows : 1); m++) {
        for (int n = 0; n < tile_outputs; n++) c[(i + m) * panel_outputs + j + n] = out[m][n];
      }
    }
    i += full ? tile_rows : 1;
  }
}

template <typename Format>
void load_panel(const Planes& planes, std::uint32_t first, std::uint32_t count, std::uint32_t columns,
                std::size_t stride, float* panel) {
  for (std::uint32_t j = 0; j < panel_outputs; j++) {
    load_row<Format>(planes, first + smaller(j, count - 1), columns, panel + j * stride);
  }
}

std::size_t padded(std::uint32_t columns) { return (static_cast<std::size_t>(columns) + 31) / 32 * 32; }

constexpr std::uint32_t row_chunk = 64;  // rows whose results are kept before they are written out

template <typename Format>
void matmul_batch(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  const auto* x = static_cast<const float*>(launch.buffers[2]);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t group_outputs = BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const std::size_t stride = padded(args.columns);
  auto* panel = reinterpret_cast<float*>(scratch((stride + row_chunk) * panel_outputs * sizeof(float)));
  float* results = panel + stride * panel_outputs;
  const Finish finish(launch);
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    const std::uint32_t last_row = smaller(x1 * BATCH_ROWS, args.rows);
    const std::uint32_t last_output = smaller(y1 * group_outputs, args.outputs);
    for (std::uint32_t n = y0 * group_outputs; n < last_output; n += panel_outputs) {
      const std::uint32_t count = smaller(panel_outputs, last_output - n);
      load_panel<Format>(planes, n, count, args.columns, stride, panel);
      for (std::uint32_t m = x0 * BATCH_ROWS; m < last_row; m += row_chunk) {
        const std::uint32_t rows = smaller(row_chunk, last_row - m);
        multiply_panel(x + static_cast<std::size_t>(m) * args.columns, rows, args.columns, panel, stride, count,
                       results);
        for (std::uint32_t i = 0; i < rows; i++) {
          finish(results + i * panel_outputs, n, n + count);
          std::memcpy(y + static_cast<std::size_t>(m + i) * args.outputs + n, results + i * panel_outputs, count * 4);
        }
      }
    }
  });
}

template <typename Format>
void matmul_glu_batch(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  const auto* x = static_cast<const float*>(launch.buffers[3]);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t group_outputs = GLU_BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const std::size_t stride = padded(args.columns);
  auto* gate_panel = reinterpret_cast<float*>(scratch((stride + row_chunk) * panel_outputs * 2 * sizeof(float)));
  float* up_panel = gate_panel + stride * panel_outputs;
  float* gates = up_panel + stride * panel_outputs;
  float* ups = gates + row_chunk * panel_outputs;
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    const std::uint32_t last_row = smaller(x1 * BATCH_ROWS, args.rows);
    const std::uint32_t last_output = smaller(y1 * group_outputs, args.outputs);
    for (std::uint32_t n = y0 * group_outputs; n < last_output; n += panel_outputs) {
      const std::uint32_t count = smaller(panel_outputs, last_output - n);
      load_panel<Format>(gate_planes, n, count, args.columns, stride, gate_panel);
      load_panel<Format>(up_planes, n, count, args.columns, stride, up_panel);
      for (std::uint32_t m = x0 * BATCH_ROWS; m < last_row; m += row_chunk) {
        const std::uint32_t rows = smaller(row_chunk, last_row - m);
        const float* inputs = x + static_cast<std::size_t>(m) * args.columns;
        multiply_panel(inputs, rows, args.columns, gate_panel, stride, count, gates);
        multiply_panel(inputs, rows, args.columns, up_panel, stride, count, ups);
        for (std::uint32_t i = 0; i < rows; i++) {
          float* gate = gates + i * panel_outputs;
          for (std::uint32_t j = 0; j < panel_outputs; j += width) {
            store(gate + j, activate(args.activation, load(gate + j)) * load(ups + i * panel_outputs + j));
          }
          std::memcpy(y + static_cast<std::size_t>(m + i) * args.outputs + n, gate, count * 4);
        }
      }
    }
  });
}

// Never inlined, so that every caller gets the same bits.
template <typename Format>
[[gnu::noinline]] float row_product(const Planes& planes, std::uint32_t row, std::uint32_t columns, const float* x) {
  Vector sum = {};
  float tail = 0.0f;
  float weights[block_weights];
  for (std::uint32_t block = 0; block * block_weights < columns; block++) {
    BlockLoader<Format>::load(planes, row, columns, block, weights);
    const float* inputs = x + block * block_weights;
    const std::uint32_t count = smaller(block_weights, columns - block * block_weights);
    std::uint32_t j = 0;
    for (; j + width <= count; j += width) sum += load(weights + j) * load(inputs + j);
    for (; j < count; j++) tail += weights[j] * inputs[j];
  }
  return horizontal_sum(sum) + tail;
}

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  const auto* x = static_cast<const float*>(launch.buffers[2]);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint64_t group_outputs = VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  const auto first = smaller(static_cast<std::uint32_t>(begin * group_outputs), last);
  for (std::uint32_t n = first; n < last; n++) y[n] = row_product<Format>(planes, n, args.columns, x);
  const Finish finish(launch);
  finish(y + first, first, last);
}

template <typename Format>
void matmul_glu_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  const auto* x = static_cast<const float*>(launch.buffers[3]);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    const float gate = row_product<Format>(gate_planes, n, args.columns, x);
    y[n] = activate(args.activation, gate) * row_product<Format>(up_planes, n, args.columns, x);
  }
}

class HeadProducts {
 public:
  HeadProducts(const HeadArgs& args, const void* weight, const float* x, std::size_t extra_bytes = 0)
      : planes_(weight, args.planes), columns_(args.columns), x_(x), extra_(scratch(extra_bytes)) {}
  void full(const std::uint32_t* rows, std::uint32_t count, float* logits) const {
    for (std::uint32_t i = 0; i < count; i++) logits[i] = row_product<Q8_0>(planes_, rows[i], columns_, x_);
  }
  void all(std::uint32_t begin, std::uint32_t end, float* logits) const {
    for (std::uint32_t row = begin; row < end; row++)
      logits[row - begin] = row_product<Q8_0>(planes_, row, columns_, x_);
  }
  unsigned char* extra() const { return extra_; }

 private:
  Planes planes_;
  std::uint32_t columns_;
  const float* x_;
  unsigned char* extra_;
};

}  // namespace

#define FASTGO_MATMUL_KERNELS(name, Format)                                                        \
  {"matmul_" #name "_r1", &matmul_vector<Format>}, {"matmul_" #name "_r8", &matmul_batch<Format>}, \
      {"matmul_glu_" #name "_r1", &matmul_glu_vector<Format>}, {"matmul_glu_" #name "_r8", &matmul_glu_batch<Format>},

extern const NativeKernel matmul_kernels[] = {FASTGO_FOR_EACH_FORMAT(FASTGO_MATMUL_KERNELS)
                                                  FASTGO_HEAD_KERNELS(HeadProducts)};
extern const NativeTable matmul_table = {matmul_kernels, sizeof(matmul_kernels) / sizeof(matmul_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
