// Prefill's matrix products on AVX-512 BF16: weights and inputs rounded to bfloat16, sums in float32.
//
// A panel of 32 outputs is dequantised, rounded and laid out once; all rows then use it.
// Rounding costs a KL divergence of about 1e-4 on small models, so float32 weights keep the float kernel.
// A call runs whole panels only, those that begin in its part of the grid: a panel cut in two would be computed twice.
#include "cpu/native/activation.h"
#include "cpu/native/bf16_tile.h"
#include "cpu/native/few_rows.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

constexpr std::uint32_t row_chunk = 48;  // rows whose results are kept before they are written out

std::uint32_t padded_pairs(std::uint32_t columns) { return (columns + block_weights - 1) / block_weights * 16; }

// The two halves of a block of weights; a row's last block may be short and is then filled up with zeros.
struct Halves {
  __m512 first, second;
};

template <typename Format>
inline Halves load_block(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  alignas(64) float weights[block_weights];
  BlockLoader<Format>::load(planes, row, columns, block, weights);
  return {_mm512_load_ps(weights), _mm512_load_ps(weights + 16)};
}

inline __m512 widen(__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); }

// Blocks of nibbles with up to two planes of further bits; scale and shift as floats of the block.
template <typename Format, int further_bits>
inline Halves load_nibble_block(const Planes& planes, std::uint64_t index, Affine affine_first, Affine affine_second) {
  const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes.low + index * 16));
  const __m128i mask = _mm_set1_epi8(15);
  __m128i low = _mm_and_si128(packed, mask), high = _mm_and_si128(_mm_srli_epi16(packed, 4), mask);
  for (int bit = 0; bit < further_bits; bit++) {
    const std::uint32_t word = word_at(planes.high, index * further_bits + bit);
    const __m128i addend = _mm_set1_epi8(static_cast<char>(16 << bit));
    low = _mm_mask_add_epi8(low, static_cast<__mmask16>(word), low, addend);
    high = _mm_mask_add_epi8(high, static_cast<__mmask16>(word >> 16), high, addend);
  }
  const __m512 zero = _mm512_set1_ps(static_cast<float>(Format::zero));
  return {_mm512_fmadd_ps(_mm512_sub_ps(widen(low), zero), _mm512_set1_ps(affine_first.scale),
                          _mm512_set1_ps(affine_first.shift)),
          _mm512_fmadd_ps(_mm512_sub_ps(widen(high), zero), _mm512_set1_ps(affine_second.scale),
                          _mm512_set1_ps(affine_second.shift))};
}

#define FASTGO_NIBBLE_BLOCKS(Format, further_bits)                                                 \
  template <>                                                                                      \
  inline Halves load_block<Format>(const Planes& planes, std::uint64_t row, std::uint32_t columns, \
                                   std::uint32_t block) {                                          \
    const std::uint64_t index = row * (columns / block_weights) + block;                           \
    const Affine affine = Format::affine(planes, index);                                           \
    return load_nibble_block<Format, further_bits>(planes, index, affine, affine);                 \
  }
FASTGO_NIBBLE_BLOCKS(Q4_0, 0)
FASTGO_NIBBLE_BLOCKS(Q4_1, 0)
FASTGO_NIBBLE_BLOCKS(Q5_0, 1)
FASTGO_NIBBLE_BLOCKS(Q5_1, 1)
FASTGO_NIBBLE_BLOCKS(Q4_K, 0)
FASTGO_NIBBLE_BLOCKS(Q5_K, 1)

template <>
inline Halves load_block<Q6_K>(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  const std::uint64_t index = row * (columns / block_weights) + block;
  return load_nibble_block<Q6_K, 2>(planes, index, {Q6_K::scale(planes, index, 0), 0.0f},
                                    {Q6_K::scale(planes, index, 1), 0.0f});
}

template <>
inline Halves load_block<Q8_0>(const Planes& planes, std::uint64_t row, std::uint32_t columns, std::uint32_t block) {
  const std::uint64_t index = row * (columns / block_weights) + block;
  const __m512 scale = _mm512_set1_ps(half_at(planes.scales, index));
  const auto* bytes = reinterpret_cast<const __m128i*>(planes.low + index * 32);
  return {_mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes))), scale),
          _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(bytes + 1))), scale)};
}

// Fills a panel with the outputs [first, first + count); the others repeat the last one.
template <typename Format>
void load_panel(const Planes& planes, std::uint32_t first, std::uint32_t count, std::uint32_t columns,
                unsigned char* panel) {
  const std::uint32_t blocks = padded_pairs(columns) / 16;
  for (std::uint32_t side = 0; side < panel_outputs; side += lane_count) {
    for (std::uint32_t block = 0; block < blocks; block++) {
      __m512i rows[lane_count];
      for (int i = 0; i < lane_count; i++) {
        const Halves weights = load_block<Format>(planes, first + smaller(side + i, count - 1), columns, block);
        rows[i] = round_pairs(weights.first, weights.second);
      }
      transpose(rows);
      unsigned char* out = panel + (static_cast<std::size_t>(block) * 16 * panel_outputs + side) * 4;
      for (int i = 0; i < 16; i++) _mm512_store_si512(out + static_cast<std::size_t>(i) * panel_outputs * 4, rows[i]);
    }
  }
}

// Rounds `rows` rows of inputs; each padded with zeros to whole blocks.
void load_inputs(const float* x, std::uint32_t rows, std::uint32_t columns, unsigned char* out) {
  const std::uint32_t blocks = padded_pairs(columns) / 16;
  for (std::uint32_t m = 0; m < rows; m++) {
    const float* row = x + static_cast<std::size_t>(m) * columns;
    for (std::uint32_t block = 0; block < blocks; block++) {
      const std::uint32_t left = columns - block * block_weights;
      const std::uint32_t mask = left < block_weights ? (1u << left) - 1 : ~0u;
      const __m512 first = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), row + block * block_weights);
      const __m512 second = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), row + block * block_weights + 16);
      _mm512_storeu_si512(out + (static_cast<std::size_t>(m) * blocks + block) * 64, round_pairs(first, second));
    }
  }
}

// Where a call keeps its rounded inputs, panels and results.
struct Workspace {
  Workspace(std::uint32_t rows, std::uint32_t columns) : pairs(padded_pairs(columns)) {
    const std::size_t panel_bytes = static_cast<std::size_t>(pairs) * panel_outputs * 4;
    const std::size_t input_bytes = static_cast<std::size_t>(rows) * pairs * 4;
    panels[0] = scratch(2 * panel_bytes + input_bytes + 2 * sizeof(float) * row_chunk * panel_outputs);
    panels[1] = panels[0] + panel_bytes;
    results[0] = reinterpret_cast<float*>(panels[1] + panel_bytes);
    results[1] = results[0] + row_chunk * panel_outputs;
    inputs = reinterpret_cast<unsigned char*>(results[1] + row_chunk * panel_outputs);
  }

  const unsigned char* row(std::uint32_t m) const { return inputs + static_cast<std::size_t>(m) * pairs * 4; }

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

template <typename Format>
void matmul_batch(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  const auto* x = static_cast<const float*>(launch.buffers[2]);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t group_outputs = BATCH_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const Workspace work(args.rows, args.columns);
  bool has_inputs = false;
  for_each_panel(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, [&](auto n, auto count) {
    if (!has_inputs) load_inputs(x, args.rows, args.columns, work.inputs);
    has_inputs = true;
    load_panel<Format>(planes, n, count, args.columns, work.panels[0]);
    for (std::uint32_t m = 0; m < args.rows; m += row_chunk) {
      const std::uint32_t rows = smaller(row_chunk, args.rows - m);
      multiply_rows(work.row(m), work.pairs * 4, rows, work.pairs, work.panels[0], work.results[0], panel_outputs);
      for (std::uint32_t i = 0; i < rows; i++) {
        std::memcpy(y + static_cast<std::size_t>(m + i) * args.outputs + n, work.results[0] + i * panel_outputs,
                    count * 4);
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
  const Workspace work(args.rows, args.columns);
  bool has_inputs = false;
  for_each_panel(begin, end, launch.threadgroups_per_grid.x, group_outputs, args.outputs, [&](auto n, auto count) {
    if (!has_inputs) load_inputs(x, args.rows, args.columns, work.inputs);
    has_inputs = true;
    load_panel<Format>(gate_planes, n, count, args.columns, work.panels[0]);
    load_panel<Format>(up_planes, n, count, args.columns, work.panels[1]);
    for (std::uint32_t m = 0; m < args.rows; m += row_chunk) {
      const std::uint32_t rows = smaller(row_chunk, args.rows - m);
      multiply_rows(work.row(m), work.pairs * 4, rows, work.pairs, work.panels[0], work.results[0], panel_outputs);
      multiply_rows(work.row(m), work.pairs * 4, rows, work.pairs, work.panels[1], work.results[1], panel_outputs);
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

template <typename Format>
void matmul_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = static_cast<const MatmulArgs*>(launch.buffers[0])->rows <= few_rows;
  (is_few ? &matmul_few<Format> : &matmul_batch<Format>)(launch, begin, end);
}

template <typename Format>
void matmul_glu_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = static_cast<const MatmulGluArgs*>(launch.buffers[0])->rows <= few_rows;
  (is_few ? &matmul_glu_few<Format> : &matmul_glu_batch<Format>)(launch, begin, end);
}

#define FASTGO_BF16_ROWS(name, Format) \
  {"matmul_" #name "_r8", &matmul_rows<Format>}, {"matmul_glu_" #name "_r8", &matmul_glu_rows<Format>},

}  // namespace

extern const NativeKernel matmul_bf16_kernels[] = {{"matmul_bf16_r8", &matmul_batch<BF16>},
                                                   {"matmul_glu_bf16_r8", &matmul_glu_batch<BF16>},
                                                   FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_BF16_ROWS)};
extern const NativeTable matmul_bf16_table = {matmul_bf16_kernels,
                                              sizeof(matmul_bf16_kernels) / sizeof(matmul_bf16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
