// Integer products of a few rows (several sequences decoded together) on AMX: up to eight rows at a time, in 16 bits as
// in vnni.h, whose high and low bytes are the sixteen columns of a right operand.
//
// Sixteen weight rows are the left operand, as bytes with their zero taken off. One product covers the columns that
// share a scale, a step: 32, or 16 for Q6_K. Its integer sums, a register an output, are scaled and added up in
// float32.
#pragma once

#include "cpu/native/activation.h"
#include "cpu/native/amx_tile.h"
#include "cpu/native/few_rows.h"
#include "cpu/native/many_rows.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t outputs_together = tile_height;
constexpr std::uint32_t steps_together = 4;
constexpr std::uint32_t quad_blocks = 4;
constexpr std::uint32_t least_streamed = 16384;  // outputs whose results bypass the caches
constexpr std::size_t quad_bytes = std::size_t{outputs_together} * quad_blocks * block_weights;

// A block of 32 columns of eight rows. Lane m of 16 is the high byte's part of row m, lane 8 + m the low byte's.
struct alignas(64) BlockInputs {
  std::int8_t bytes[8][16][4];  // four columns, lane, column: a right operand as the unit reads it
  float scales[16];
  float sums[16];  // of the inputs; zero in the low lanes
};

inline std::uint32_t row_groups(std::uint32_t rows) { return (rows + rows_together - 1) / rows_together; }
inline std::uint32_t whole_quads(std::uint32_t blocks) { return (blocks + quad_blocks - 1) / quad_blocks; }

inline std::size_t block_inputs_bytes(std::uint32_t rows, std::uint32_t columns) {
  return sizeof(BlockInputs) * row_groups(rows) * whole_quads(columns / block_weights) * quad_blocks;
}

// The inputs of block `block`, for all groups of rows; beyond the last row and column they are zero.
inline void load_block_inputs(const float* x, std::uint32_t rows, std::uint32_t columns, std::uint32_t block,
                              BlockInputs* inputs) {
  const std::uint32_t blocks = whole_quads(columns / block_weights) * quad_blocks;
  for (std::uint32_t group = 0; group < row_groups(rows); group++) {
    BlockInputs& in = inputs[std::size_t{group} * blocks + block];
    std::memset(&in, 0, sizeof in);
    if (block * block_weights >= columns) continue;
    for (std::uint32_t lane = 0; lane < smaller(rows_together, rows - group * rows_together); lane++) {
      const float* from = x + static_cast<std::size_t>(group * rows_together + lane) * columns + block * block_weights;
      const SixteenBits value = to_sixteen_bits(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16));
      for (int side = 0; side < 2; side++) {
        alignas(16) std::int8_t high[16], low[16];
        const HighLow parts = split(value.halves[side]);
        _mm_store_si128(reinterpret_cast<__m128i*>(high), parts.high);
        _mm_store_si128(reinterpret_cast<__m128i*>(low), parts.low);
        for (int four = 0; four < 4; four++) {
          std::memcpy(in.bytes[side * 4 + four][lane], high + four * 4, 4);
          std::memcpy(in.bytes[side * 4 + four][rows_together + lane], low + four * 4, 4);
        }
      }
      in.scales[lane] = value.scale * 256.0f;
      in.scales[rows_together + lane] = value.scale;
      const __m512i sum = _mm512_add_epi32(value.halves[0], value.halves[1]);
      in.sums[lane] = value.scale * _mm512_reduce_add_ps(_mm512_cvtepi32_ps(sum));  // exact
    }
  }
}

// Inputs for all pieces of a launch, a unit a block.
template <typename Product>
struct FewInputsPreparation {
  static const typename Product::Args& args(const Launch& launch) {
    return *static_cast<const typename Product::Args*>(launch.buffers[0]);
  }
  static std::uint64_t bytes(const Launch& launch) {
    return block_inputs_bytes(args(launch).rows, args(launch).columns);
  }
  static std::uint64_t units(const Launch& launch) {
    return std::uint64_t{whole_quads(args(launch).columns / block_weights)} * quad_blocks;
  }
  static void run(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
    const auto& a = args(launch);
    for (; begin < end; begin++) {
      load_block_inputs(static_cast<const float*>(launch.buffers[Product::x]), a.rows, a.columns,
                        static_cast<std::uint32_t>(begin), reinterpret_cast<BlockInputs*>(launch.prepared));
    }
  }
};

// How a format's sixteen rows become steps.
template <typename Format>
struct StepFormat {
  static constexpr std::uint32_t columns = 32;
  static constexpr bool has_shift = Format::zero == 0;  // else the zero is taken off the bytes
  static constexpr bool is_in_place = false;            // the plane's bytes are the left operand as they stand
  static constexpr std::size_t block_bytes = 16;        // of the plane of low bits

  // Four blocks as bytes in the order of their columns; 128 bytes a row.
  static void store_quad(const Planes& p, std::uint64_t block, unsigned char* out) {
    const __m512i zero = _mm512_set1_epi8(static_cast<char>(Format::zero));
    const Quad q = Vnni<Format>::quad(p, block);
    const __m512i first = _mm512_sub_epi8(q.first, zero), last = _mm512_sub_epi8(q.last, zero);
    const __m512i front = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                  back = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_store_si512(out, _mm512_permutex2var_epi64(first, front, last));
    _mm512_store_si512(out + 64, _mm512_permutex2var_epi64(first, back, last));
  }

  static constexpr std::size_t step_at(std::uint32_t step) { return step * 32; }  // within a row's 128 bytes

  static void store_scales(const Planes& p, std::uint64_t first, std::uint32_t left, float* scales, float* shifts) {
    const GroupAffine affine = Vnni<Format>::affine(p, first, present_blocks(left, 0));
    _mm256_storeu_ps(scales, affine.scale);
    if (has_shift) _mm256_storeu_ps(shifts, affine.shift);
  }
};

template <>
struct StepFormat<Q8_0> {
  static constexpr std::uint32_t columns = 32;
  static constexpr bool has_shift = false;
  static constexpr bool is_in_place = true;
  static constexpr std::size_t block_bytes = 32;

  static void store_quad(const Planes& p, std::uint64_t block, unsigned char* out) {
    _mm512_store_si512(out, _mm512_loadu_si512(p.low + block * 32));
    _mm512_store_si512(out + 64, _mm512_loadu_si512(p.low + block * 32 + 64));
  }

  static constexpr std::size_t step_at(std::uint32_t step) { return step * 32; }

  static void store_scales(const Planes& p, std::uint64_t first, std::uint32_t left, float* scales, float*) {
    _mm256_storeu_ps(scales, halves_at(p.scales, first, present_blocks(left, 0)));
  }
};

template <>
struct StepFormat<Q6_K> {
  static constexpr std::uint32_t columns = 16;
  static constexpr bool has_shift = false;
  static constexpr bool is_in_place = false;
  static constexpr std::size_t block_bytes = 16;

  static void store_quad(const Planes& p, std::uint64_t block, unsigned char* out) {
    const __m512i zero = _mm512_set1_epi8(static_cast<char>(Q6_K::zero));
    const Quad q = load_six_bits(p, block);
    _mm512_store_si512(out, _mm512_sub_epi8(q.first, zero));
    _mm512_store_si512(out + 64, _mm512_sub_epi8(q.last, zero));
  }

  static constexpr std::size_t step_at(std::uint32_t step) { return step % 2 * 64 + step / 2 * 16; }

  static void store_scales(const Planes& p, std::uint64_t first, std::uint32_t, float* scales, float*) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + first * 2));
    const __m512 super_scale = _mm512_set1_ps(half_at(p.super_scales, first / super_block_blocks));
    _mm512_storeu_ps(scales, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), super_scale));
  }
};

// Sixteen weight rows as bytes and scales, and room for a round of integer sums.
template <typename Format>
class StepWeights {
 public:
  static constexpr std::uint32_t steps_of_block = block_weights / StepFormat<Format>::columns;
  // Cache lines of sixteen rows' low bits that belong to a step.
  static constexpr std::uint32_t next_lines = outputs_together * StepFormat<Format>::block_bytes / steps_of_block / 64;

  explicit StepWeights(std::uint32_t blocks) : blocks_(blocks), stride_(whole_groups(blocks) * steps_of_block) {}

  std::size_t bytes() const {
    return whole_quads(blocks_) * quad_bytes + 2 * outputs_together * stride_ * sizeof(float) +
           steps_together * tile_bytes;
  }

  void place(unsigned char* memory) {
    quads_ = memory;
    sums_ = memory + whole_quads(blocks_) * quad_bytes;
    scales_ = reinterpret_cast<float*>(sums_ + steps_together * tile_bytes);
    shifts_ = scales_ + outputs_together * stride_;
  }

  // The rows [first, first + count); the others repeat the last one. Whole bytes are left where they are.
  void load(const Planes& p, std::uint32_t first, std::uint32_t count) {
    const std::size_t row_bytes = blocks_ * StepFormat<Format>::block_bytes;
    const bool is_in_place = StepFormat<Format>::is_in_place && count == outputs_together;
    for (std::uint32_t r = 0; r < outputs_together; r++) {
      const std::uint64_t block = static_cast<std::uint64_t>(first + smaller(r, count - 1)) * blocks_;
      for (std::uint32_t quad = 0; quad < whole_quads(blocks_) && !is_in_place; quad++) {
        StepFormat<Format>::store_quad(p, block + quad * quad_blocks, quads_ + quad * quad_bytes + r * 128);
      }
      for (std::uint32_t b = 0; b < blocks_; b += group_blocks) {
        const std::size_t at = r * stride_ + b * steps_of_block;
        StepFormat<Format>::store_scales(p, block + b, blocks_ - b, scales_ + at, shifts_ + at);
      }
    }
    const unsigned char* rows = p.low + first * row_bytes;
    left_ = is_in_place ? Operand{rows, row_bytes, 128} : Operand{quads_, 128, quad_bytes};
    next_ = reinterpret_cast<const char*>(rows + outputs_together * row_bytes);
    if (!is_in_place) return;
    const std::size_t scale_bytes = std::size_t{outputs_together} * blocks_ * 2;
    const auto* far_scales =
        reinterpret_cast<const char*>(p.scales) + std::size_t{first} * blocks_ * 2 + 2 * scale_bytes;
    for (std::size_t at = 0; at < scale_bytes; at += 64) _mm_prefetch(far_scales + at, _MM_HINT_T0);
  }

  // out (8, 16) = the inputs' rows . the weights' rows
  void multiply(const BlockInputs* x, float* out) const {
    __m512 rows[outputs_together];
    for (auto& row : rows) row = _mm512_setzero_ps();
    for (std::uint32_t quad = 0; quad < whole_quads(blocks_); quad++) {
      for (std::uint32_t step = 0; step < quad_blocks * steps_of_block; step += steps_together) {
        add_steps(quad, step, x + quad * quad_blocks, rows);
      }
    }
    __m512i lanes[outputs_together];
    for (int i = 0; i < lane_count; i++) lanes[i] = _mm512_castps_si512(rows[i]);
    transpose(lanes);
    for (int m = 0; m < rows_together; m++) {
      const __m512 both = _mm512_add_ps(_mm512_castsi512_ps(lanes[m]), _mm512_castsi512_ps(lanes[m + rows_together]));
      _mm512_storeu_ps(out + m * lane_count, both);
    }
  }

 private:
  // The integer sums of four steps. Tile numbers must be literals.
  void multiply_steps(const unsigned char* quad, std::uint32_t first, const BlockInputs* x) const {
    const auto weights = [&](std::uint32_t s) { return quad + StepFormat<Format>::step_at(first + s); };
    const std::size_t row = left_.row;
    finish_stores();
    const auto inputs = [&](std::uint32_t s) {
      return x[(first + s) / steps_of_block].bytes[(first + s) % steps_of_block * 4];
    };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, weights(0), row);
    _tile_loadd(6, inputs(0), 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, weights(1), row);
    _tile_loadd(7, inputs(1), 64);
    _tile_dpbssd(1, 5, 7);
    _tile_loadd(4, weights(2), row);
    _tile_loadd(6, inputs(2), 64);
    _tile_dpbssd(2, 4, 6);
    _tile_loadd(5, weights(3), row);
    _tile_loadd(7, inputs(3), 64);
    _tile_dpbssd(3, 5, 7);
    _tile_stored(0, sums_, 64);
    _tile_stored(1, sums_ + tile_bytes, 64);
    _tile_stored(2, sums_ + 2 * tile_bytes, 64);
    _tile_stored(3, sums_ + 3 * tile_bytes, 64);
  }

  // Scales and adds four steps. The next sixteen rows are fetched into the cache along the way, a line now and then:
  // many at once would hold up the products.
  __attribute__((always_inline)) void add_steps(std::uint32_t quad, std::uint32_t first, const BlockInputs* x,
                                                __m512 rows[outputs_together]) const {
    multiply_steps(left_.first + quad * left_.quad, first, x);
    const std::size_t at = quad * quad_blocks * steps_of_block + first;
    for (std::uint32_t s = 0; s < steps_together; s++) {
      const BlockInputs& in = x[(first + s) / steps_of_block];
      const __m512 lane_scales = _mm512_load_ps(in.scales), lane_sums = _mm512_load_ps(in.sums);
      const char* next = next_ + (at + s) * next_lines * 64;
      for (std::uint32_t r = 0; r < outputs_together; r++) {
        if (r % (outputs_together / next_lines) == 0) {
          _mm_prefetch(next + r / (outputs_together / next_lines) * 64, _MM_HINT_T0);
        }
        const __m512 sums = _mm512_cvtepi32_ps(_mm512_load_si512(sums_ + s * tile_bytes + r * 64));
        const __m512 scales = _mm512_mul_ps(lane_scales, _mm512_set1_ps(scales_[r * stride_ + at + s]));
        rows[r] = _mm512_fmadd_ps(sums, scales, rows[r]);
        if (StepFormat<Format>::has_shift) {
          rows[r] = _mm512_fmadd_ps(lane_sums, _mm512_set1_ps(shifts_[r * stride_ + at + s]), rows[r]);
        }
      }
    }
  }

  // Where the left operands are; distances in bytes from a row and from four blocks to the next.
  struct Operand {
    const unsigned char* first;
    std::size_t row, quad;
  };

  const std::uint32_t blocks_;
  const std::size_t stride_;  // of scales and shifts, floats
  Operand left_{};
  const char* next_ = nullptr;
  unsigned char* quads_ = nullptr;
  unsigned char* sums_ = nullptr;
  float *scales_ = nullptr, *shifts_ = nullptr;
};

// Inputs of a launch, prepared or else made here; `memory` of block_inputs_bytes.
template <typename Product>
const BlockInputs* few_inputs(const Launch& launch, unsigned char* memory) {
  const auto& args = *static_cast<const typename Product::Args*>(launch.buffers[0]);
  if (launch.prepared_bytes == block_inputs_bytes(args.rows, args.columns)) {
    return reinterpret_cast<const BlockInputs*>(launch.prepared);
  }
  auto* own = reinterpret_cast<BlockInputs*>(memory);
  for (std::uint32_t block = 0; block < whole_quads(args.columns / block_weights) * quad_blocks; block++) {
    load_block_inputs(static_cast<const float*>(launch.buffers[Product::x]), args.rows, args.columns, block, own);
  }
  return own;
}

// Calls product(weights, inputs of the rows, first output, count, out (8, 16)) for all of a range, and writes out to y.
template <typename Format, typename Product, typename Multiply>
void for_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end, std::uint32_t tile_outputs, float* y,
                   const Multiply& product) {
  const auto& args = *static_cast<const typename Product::Args*>(launch.buffers[0]);
  const std::uint32_t blocks = args.columns / block_weights;
  StepWeights<Format> weights(blocks);
  unsigned char* memory = scratch(weights.bytes() + block_inputs_bytes(args.rows, args.columns));
  weights.place(memory);
  const BlockInputs* inputs = few_inputs<Product>(launch, memory + weights.bytes());
  const TileUnit unit(StepFormat<Format>::columns, StepFormat<Format>::columns / 4);
  // A head's logits: stores that wait for their lines to be read would hold up the tiles' own.
  const bool streams = args.outputs >= least_streamed && args.outputs % outputs_together == 0 &&
                       reinterpret_cast<std::uintptr_t>(y) % 64 == 0;
  for_few_rows(launch, args, tile_outputs, begin, end, [&](auto m, auto rows, auto first_output, auto last_output) {
    const BlockInputs* x = inputs + std::size_t{m / rows_together} * whole_quads(blocks) * quad_blocks;
    for (std::uint32_t n = first_output, count; n < last_output; n += count) {
      // A piece may begin within sixteen outputs; those after are whole cache lines of y.
      count = smaller(outputs_together - n % outputs_together, last_output - n);
      alignas(64) float out[rows_together][outputs_together];
      product(weights, x, n, count, &out[0][0]);
      for (std::uint32_t i = 0; i < rows; i++) {
        float* to = y + static_cast<std::size_t>(m + i) * args.outputs + n;
        if (streams && count == outputs_together) {
          _mm512_stream_ps(to, _mm512_load_ps(out[i]));
        } else {
          std::memcpy(to, out[i], count * sizeof(float));
        }
      }
    }
  });
  if (streams) _mm_sfence();
}

template <typename Format>
void matmul_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const Planes planes(launch.buffers[1], static_cast<const MatmulArgs*>(launch.buffers[0])->planes);
  const Finish finish(launch);
  const auto product = [&](auto& weights, const BlockInputs* x, std::uint32_t n, std::uint32_t count, float* out) {
    weights.load(planes, n, count);
    weights.multiply(x, out);
    for (int i = 0; i < rows_together; i++) finish(out + i * outputs_together, n, n + count);
  };
  for_few_tiles<Format, PlainProduct>(launch, begin, end, BATCH_OUTPUTS, static_cast<float*>(launch.buffers[3]),
                                      product);
}

template <typename Format>
void matmul_glu_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes), up_planes(launch.buffers[2], args.up_planes);
  const auto product = [&](auto& weights, const BlockInputs* x, std::uint32_t n, std::uint32_t count, float* out) {
    alignas(64) float gates[rows_together * outputs_together];
    weights.load(gate_planes, n, count);
    weights.multiply(x, gates);
    weights.load(up_planes, n, count);
    weights.multiply(x, out);
    for (int i = 0; i < rows_together * lane_count; i += width) {
      store(out + i, load(out + i) * activate(args.activation, load(gates + i)));
    }
  };
  for_few_tiles<Format, GatedProduct>(launch, begin, end, GLU_BATCH_OUTPUTS, static_cast<float*>(launch.buffers[4]),
                                      product);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
