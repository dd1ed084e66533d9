// Matrix products of a few rows (2 to 16, several sequences decoded together) on AVX-512 VNNI: weights are unpacked
// once for up to eight rows, whose inputs are in 16 bits as in vnni.h.
#pragma once

#include "cpu/native/activation.h"
#include "cpu/native/finish.h"
#include "cpu/native/vnni.h"
#include "include/matmul_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t few_rows = 16;  // with more, dequantising to bfloat16 is worth it
constexpr int rows_together = 8;

// What one group of blocks needs of one row; the rows that are multiplied together lie side by side.
struct alignas(64) GroupInputs {
  std::int8_t high[group_blocks * 32];
  std::int8_t low[group_blocks * 32];
  float lane_scales[64];  // spread as the format's products lie: two quads or four pairs
  float half_sums[16];
  float sums[8];
};

// Sums over lanes of up to eight registers, one a row. Inlined everywhere, so that they stay in registers.
struct RowSums {
  __m512 products[rows_together];
  __m256 shifts[rows_together];

  // out[m] of eight rows
  __attribute__((always_inline)) void reduce(float* out) const {
    __m256 r[rows_together];
    for (int m = 0; m < rows_together; m++) {
      const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(products[m]), _mm512_extractf32x8_ps(products[m], 1));
      r[m] = _mm256_add_ps(halves, shifts[m]);
    }
    const __m256 first = _mm256_hadd_ps(_mm256_hadd_ps(r[0], r[1]), _mm256_hadd_ps(r[2], r[3]));
    const __m256 last = _mm256_hadd_ps(_mm256_hadd_ps(r[4], r[5]), _mm256_hadd_ps(r[6], r[7]));
    _mm256_storeu_ps(
        out, _mm256_add_ps(_mm256_permute2f128_ps(first, last, 0x20), _mm256_permute2f128_ps(first, last, 0x31)));
  }
};

// Adds a group of blocks of one weight row: add_group<rows>(planes, index of the first block, blocks left, x, sums).
template <typename Format>
struct FewRows {
  static constexpr bool nibble_order = true;
  template <int rows>
  __attribute__((always_inline)) static void add_group(const Planes& p, std::uint64_t first, std::uint32_t left,
                                                       const GroupInputs* x, RowSums* sums) {
    const GroupAffine affine = Vnni<Format>::affine(p, first, present_blocks(left, 0));
    for (int m = 0; m < rows; m++) {
      sums->shifts[m] = _mm256_fmadd_ps(affine.shift, _mm256_load_ps(x[m].sums), sums->shifts[m]);
    }
    for (int quad = 0; quad < 2; quad++) {
      if (static_cast<std::uint32_t>(quad) * 4 >= left) break;
      const Quad q = Vnni<Format>::quad(p, first + static_cast<std::uint32_t>(quad) * 4);
      const __m512 scales = spread_to_quad(_mm512_castps256_ps512(affine.scale), quad);
      for (int m = 0; m < rows; m++) {
        const __m512 both = _mm512_mul_ps(scales, _mm512_load_ps(x[m].lane_scales + quad * 16));
        const __m512 terms = products(q, x[m].high + quad * 128, x[m].low + quad * 128);
        sums->products[m] = _mm512_fmadd_ps(terms, both, sums->products[m]);
      }
    }
  }
};

template <>
struct FewRows<Q8_0> {
  static constexpr bool nibble_order = false;
  template <int rows>
  __attribute__((always_inline)) static void add_group(const Planes& p, std::uint64_t first, std::uint32_t left,
                                                       const GroupInputs* x, RowSums* sums) {
    const __m256 scale = halves_at(p.scales, first, present_blocks(left, 0));
    const __m256 shift = _mm256_mul_ps(scale, _mm256_set1_ps(-128.0f));
    for (int m = 0; m < rows; m++) {
      sums->shifts[m] = _mm256_fmadd_ps(shift, _mm256_load_ps(x[m].sums), sums->shifts[m]);
    }
    for (int pair = 0; pair < 4; pair++) {
      if (static_cast<std::uint32_t>(pair) * 2 >= left) break;
      const __m512i bytes = _mm512_loadu_si512(p.low + first * 32 + static_cast<std::uint64_t>(pair) * 64);
      const __m512i q = _mm512_xor_si512(bytes, _mm512_set1_epi8(-128));
      const __m512 scales = spread_to_pair(_mm512_castps256_ps512(scale), pair);
      for (int m = 0; m < rows; m++) {
        const __m512 both = _mm512_mul_ps(scales, _mm512_load_ps(x[m].lane_scales + pair * 16));
        const __m512 terms = products(q, x[m].high + pair * 64, x[m].low + pair * 64);
        sums->products[m] = _mm512_fmadd_ps(terms, both, sums->products[m]);
      }
    }
  }
};

template <>
struct FewRows<Q6_K> {
  static constexpr bool nibble_order = true;
  template <int rows>
  __attribute__((always_inline)) static void add_group(const Planes& p, std::uint64_t first, std::uint32_t,
                                                       const GroupInputs* x, RowSums* sums) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + first * 2));
    const __m512 super_scale = _mm512_set1_ps(half_at(p.super_scales, first / group_blocks));
    const __m512 scale = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), super_scale);
    const __m512 shift = _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(-Q6_K::zero)));
    for (int m = 0; m < rows; m++) {
      const __m512 shifted = _mm512_mul_ps(shift, _mm512_load_ps(x[m].half_sums));
      sums->shifts[m] = _mm256_add_ps(sums->shifts[m], _mm512_castps512_ps256(shifted));
      sums->shifts[m] = _mm256_add_ps(sums->shifts[m], _mm512_extractf32x8_ps(shifted, 1));
    }
    const __m512i lanes = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    for (int quad = 0; quad < 2; quad++) {
      const std::uint64_t block = first + static_cast<std::uint64_t>(quad) * 4;
      const Quad q = load_six_bits(p, block);
      const __m512i index = _mm512_add_epi32(lanes, _mm512_set1_epi32(quad * 8));
      const __m512 first_scales = _mm512_permutexvar_ps(index, scale);
      const __m512 last_scales = _mm512_permutexvar_ps(_mm512_add_epi32(index, _mm512_set1_epi32(1)), scale);
      for (int m = 0; m < rows; m++) {
        const std::int8_t *high = x[m].high + quad * 128, *low = x[m].low + quad * 128;
        __m512 terms = _mm512_mul_ps(products(q.first, high, low), first_scales);
        terms = _mm512_fmadd_ps(products(q.last, high + 64, low + 64), last_scales, terms);
        sums->products[m] = _mm512_fmadd_ps(terms, _mm512_load_ps(x[m].lane_scales + quad * 16), sums->products[m]);
      }
    }
  }
};

// The quantised inputs of up to `rows_together` rows: of group g the rows lie at groups + g * rows.
struct FewInputs {
  GroupInputs* groups;
  int rows;  // 2, 4 or 8; those beyond the real ones are zero
};

inline std::size_t few_inputs_bytes(std::uint32_t blocks) {
  return whole_groups(blocks) / group_blocks * sizeof(GroupInputs) * rows_together + inputs_bytes(blocks);
}

template <typename Format>
FewInputs quantise_few(const float* x, std::uint32_t rows, std::uint32_t columns, unsigned char* memory) {
  const std::uint32_t blocks = columns / block_weights, groups = whole_groups(blocks) / group_blocks;
  const FewInputs few{reinterpret_cast<GroupInputs*>(memory), rows <= 2 ? 2 : rows <= 4 ? 4 : rows_together};
  unsigned char* row_memory = memory + groups * sizeof(GroupInputs) * rows_together;
  for (int m = 0; m < few.rows; m++) {
    if (static_cast<std::uint32_t>(m) >= rows) {
      for (std::uint32_t g = 0; g < groups; g++) std::memset(few.groups + g * few.rows + m, 0, sizeof(GroupInputs));
      continue;
    }
    const float* row = x + static_cast<std::size_t>(m) * columns;
    const Inputs in = quantise(row, blocks, FewRows<Format>::nibble_order, row_memory);
    for (std::uint32_t g = 0; g < groups; g++) {
      GroupInputs* out = few.groups + g * few.rows + m;
      std::memcpy(out->high, in.high + g * sizeof out->high, sizeof out->high);
      std::memcpy(out->low, in.low + g * sizeof out->low, sizeof out->low);
      std::memcpy(out->sums, in.sums + g * 8, sizeof out->sums);
      std::memcpy(out->half_sums, in.half_sums + g * 16, sizeof out->half_sums);
      const __m512 scales = _mm512_castps256_ps512(_mm256_loadu_ps(in.scales + g * 8));
      for (int i = 0; i < 4; i++) {
        const __m512 spread = FewRows<Format>::nibble_order ? spread_to_quad(scales, i & 1) : spread_to_pair(scales, i);
        _mm512_store_ps(out->lane_scales + i * 16, spread);
      }
    }
  }
  return few;
}

// out[m] = weight row `row` . inputs of row m, eight of them
template <typename Format, int rows>
void multiply_few(const Planes& p, std::uint64_t row, std::uint32_t blocks, const GroupInputs* x, float* out) {
  RowSums sums;
  for (int m = 0; m < rows_together; m++) {
    sums.products[m] = _mm512_setzero_ps();
    sums.shifts[m] = _mm256_setzero_ps();
  }
  for (std::uint32_t g = 0; g * group_blocks < blocks; g++) {
    const std::uint32_t block = g * group_blocks;
    FewRows<Format>::template add_group<rows>(p, row * blocks + block, blocks - block, x + g * rows, &sums);
  }
  sums.reduce(out);
}

template <typename Format>
auto few_rows_product(int rows) {
  return rows == 2 ? &multiply_few<Format, 2> : rows == 4 ? &multiply_few<Format, 4> : &multiply_few<Format, 8>;
}

// Calls product(first row, rows there, first output, last output) for what a range of matmul's grid covers.
template <typename Args, typename Product>
void for_few_rows(const Launch& launch, const Args& args, std::uint32_t tile_outputs, std::uint64_t begin,
                  std::uint64_t end, const Product& product) {
  const std::uint32_t group_outputs = tile_outputs * launch.threads_per_threadgroup.x / 32;
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    const std::uint32_t last_output = smaller(y1 * group_outputs, args.outputs);
    for (std::uint32_t m = x0 * BATCH_ROWS; m < smaller(x1 * BATCH_ROWS, args.rows); m += rows_together) {
      product(m, smaller(rows_together, args.rows - m), y0 * group_outputs, last_output);
    }
  });
}

template <typename Format>
void matmul_few(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  const auto* x = static_cast<const float*>(launch.buffers[2]);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const Finish finish(launch);
  const std::uint32_t blocks = args.columns / block_weights;
  unsigned char* memory = scratch(few_inputs_bytes(blocks));
  for_few_rows(launch, args, BATCH_OUTPUTS, begin, end, [&](auto m, auto rows, auto first_output, auto last_output) {
    const FewInputs in =
        quantise_few<Format>(x + static_cast<std::size_t>(m) * args.columns, rows, args.columns, memory);
    const auto product = few_rows_product<Format>(in.rows);
    for (std::uint32_t n = first_output; n < last_output; n++) {
      float out[rows_together];
      product(planes, n, blocks, in.groups, out);
      for (std::uint32_t i = 0; i < rows; i++) y[static_cast<std::size_t>(m + i) * args.outputs + n] = out[i];
    }
    for (std::uint32_t i = 0; i < rows; i++) {
      finish(y + static_cast<std::size_t>(m + i) * args.outputs + first_output, first_output, last_output);
    }
  });
}

template <typename Format>
void matmul_glu_few(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  const auto* x = static_cast<const float*>(launch.buffers[3]);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t blocks = args.columns / block_weights;
  unsigned char* memory = scratch(few_inputs_bytes(blocks));
  for_few_rows(launch, args, GLU_BATCH_OUTPUTS, begin, end,
               [&](auto m, auto rows, auto first_output, auto last_output) {
                 const FewInputs in =
                     quantise_few<Format>(x + static_cast<std::size_t>(m) * args.columns, rows, args.columns, memory);
                 const auto product = few_rows_product<Format>(in.rows);
                 for (std::uint32_t n = first_output; n < last_output; n++) {
                   alignas(64) float gate[16] = {}, up[16] = {};
                   product(gate_planes, n, blocks, in.groups, gate);
                   product(up_planes, n, blocks, in.groups, up);
                   store(gate, activate(args.activation, load(gate)) * load(up));
                   for (std::uint32_t i = 0; i < rows; i++)
                     y[static_cast<std::size_t>(m + i) * args.outputs + n] = gate[i];
                 }
               });
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
