// Integer products of a few rows (several sequences decoded together) on AMX: up to eight rows at a time, as
// few_inputs_amx.h lays them out.
//
// Sixteen weight rows are the left operand, as bytes with their zero taken off. One product covers the columns that
// share a scale, a step: 32, or 16 for Q6_K. Its integer sums, a register an output, are scaled and added up in
// float32.
#pragma once

#include <utility>

#include "cpu/native/activation.h"
#include "cpu/native/amx_tile.h"
#include "cpu/native/few_inputs_amx.h"
#include "cpu/native/many_rows.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t outputs_together = tile_height;
constexpr std::uint32_t steps_together = 4;
constexpr std::uint32_t least_streamed = 16384;  // outputs whose results bypass the caches

// What a block has beside its low bits, bytes.
template <typename Format>
constexpr std::size_t high_block_bytes = 0;
template <>
constexpr std::size_t high_block_bytes<Q5_0> = 4;
template <>
constexpr std::size_t high_block_bytes<Q5_1> = 4;
template <>
constexpr std::size_t high_block_bytes<Q5_K> = 4;
template <>
constexpr std::size_t high_block_bytes<Q8_SPLIT> = 16;
template <typename Format>
constexpr std::size_t scale_block_bytes = 2;
template <>
constexpr std::size_t scale_block_bytes<Q4_K> = 1;
template <>
constexpr std::size_t scale_block_bytes<Q5_K> = 1;

// How a format's sixteen rows become steps.
template <typename Format>
struct StepFormat {
  static constexpr std::uint32_t columns = 32;
  static constexpr bool has_shift = Format::zero == 0;  // else the zero is taken off the bytes
  static constexpr bool is_in_place = false;            // the plane's bytes are the left operand as they stand
  static constexpr std::size_t block_bytes = 16;        // of the plane of low bits
  static constexpr std::size_t high_bytes = high_block_bytes<Format>;
  static constexpr std::size_t scale_bytes = scale_block_bytes<Format>;

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
  static constexpr std::size_t block_bytes = 32, high_bytes = 0, scale_bytes = 2;

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
  static constexpr std::size_t block_bytes = 16, high_bytes = 8, scale_bytes = 2;

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

// Calls f(0), f(1) ... with constants, so that what they index stays in registers.
template <typename F, std::size_t... i>
__attribute__((always_inline)) inline void for_each_index(const F& f, std::index_sequence<i...>) {
  (f(std::integral_constant<std::uint32_t, i>{}), ...);
}

// Fetches a line into the cache between what makes `sum` and what uses it: the compiler would put all fetches in one
// place, where they hold up the loads of tiles.
__attribute__((always_inline)) inline void fetch_between(const char* line, __m512& sum) {
  __asm__ volatile("prefetcht0 %1" : "+v"(sum) : "m"(*line));
}

// Sixteen weight rows, unpacked and multiplied by quads of blocks: while the unit multiplies a quad, the next one is
// unpacked, and then the quad's integer sums are scaled and added up.
template <typename Format>
class StepWeights {
 public:
  using Step = StepFormat<Format>;
  static constexpr std::uint32_t steps_of_block = block_weights / Step::columns;
  static constexpr std::uint32_t steps_of_quad = quad_blocks * steps_of_block;
  // Cache lines of sixteen rows' low bits that belong to a step.
  static constexpr std::uint32_t next_lines = outputs_together * Step::block_bytes / steps_of_block / 64;

  explicit StepWeights(std::uint32_t blocks) : blocks_(blocks) {}

  static constexpr std::size_t bytes() { return sizeof(Memory); }

  void place(unsigned char* memory) { memory_ = reinterpret_cast<Memory*>(memory); }

  // out (8, 16) = the inputs' rows . the weights' rows [first, first + count); the others repeat the last one
  void multiply(const Planes& planes, std::uint32_t first, std::uint32_t count, const LaneInputs& x, float* out) const {
    // Copies, as bytes that are stored could change what references lead to.
    const Planes p = planes;
    const StepWeights weights = *this;
    weights.multiply_rows(p, first, count, x, out);
  }

 private:
  __attribute__((always_inline)) void multiply_rows(const Planes& p, std::uint32_t first, std::uint32_t count,
                                                    const LaneInputs& x, float* out) const {
    const Rows rows{first, count, Step::is_in_place && count == outputs_together};
    const std::uint32_t quads = whole_quads(blocks_);
    __m512 sums[outputs_together];
    for_each_index([&](auto r) __attribute__((always_inline)) { sums[r] = _mm512_setzero_ps(); }, Outputs{});
    unpack(p, rows, 0);
    for (std::uint32_t quad = 0; quad < quads; quad++) {
      const float* lane_sums = x.sums + quad * (quad_blocks / 2 * lane_count);
      const std::int8_t* operands = x.operands + quad * (quad_blocks * operand_bytes);
      const __m512 lane_scales = _mm512_load_ps(x.scales + quad * lane_count);
      // A last quad that is half empty has half the steps.
      if (Step::columns == block_weights && blocks_ - quad * quad_blocks <= 2) {
        multiply_steps<2>(left_operand(p, rows, quad), 0, operands);
        add_steps<2>(p, rows, quad, 0, lane_sums, lane_scales, sums);
        break;
      }
      for (std::uint32_t step = 0; step < steps_of_quad; step += steps_together) {
        multiply_steps<steps_together>(left_operand(p, rows, quad), step, operands);
        if (step + steps_together == steps_of_quad && quad + 1 < quads) unpack(p, rows, quad + 1);
        add_steps<steps_together>(p, rows, quad, step, lane_sums, lane_scales, sums);
      }
    }
    __m512i lanes[outputs_together];
    for (int i = 0; i < lane_count; i++) lanes[i] = _mm512_castps_si512(sums[i]);
    transpose(lanes);
    for (int m = 0; m < rows_together; m++) {
      const __m512 both = _mm512_add_ps(_mm512_castsi512_ps(lanes[m * 2]), _mm512_castsi512_ps(lanes[m * 2 + 1]));
      _mm512_storeu_ps(out + m * lane_count, both);
    }
  }

  using Outputs = std::make_index_sequence<outputs_together>;

  struct Rows {
    std::uint32_t first, count;
    bool is_in_place;
  };

  // Where the left operands of a quad are, and the distance in bytes from a row to the next.
  struct Operand {
    const unsigned char* first;
    std::size_t row;
  };

  // Scales and shifts are those of four quads, as two are unpacked at a time while those before are still in use.
  struct alignas(64) Memory {
    unsigned char quad[outputs_together][128];
    std::int32_t sums[steps_together][outputs_together][lane_count];
    float scales[4][outputs_together][steps_of_quad];
    float shifts[4][outputs_together][quad_blocks];
  };

  Operand left_operand(const Planes& p, const Rows& rows, std::uint32_t quad) const {
    if (!rows.is_in_place) return {memory_->quad[0], 128};
    const std::size_t row_bytes = blocks_ * Step::block_bytes;
    return {p.low + rows.first * row_bytes + quad * 128, row_bytes};
  }

  // A quad's bytes, and with every second one the scales of two.
  __attribute__((always_inline)) void unpack(const Planes& p, const Rows& rows, std::uint32_t quad) const {
    const std::uint32_t block = quad * quad_blocks;
    for (std::uint32_t r = 0; r < outputs_together; r++) {
      const std::uint64_t at = static_cast<std::uint64_t>(rows.first + smaller(r, rows.count - 1)) * blocks_ + block;
      if (!rows.is_in_place) Step::store_quad(p, at, memory_->quad[r]);
      if (quad % 2 != 0) continue;
      alignas(64) float scales[2 * steps_of_quad], shifts[2 * quad_blocks];
      Step::store_scales(p, at, blocks_ - block, scales, shifts);
      for (std::uint32_t half = 0; half < 2; half++) {
        std::memcpy(memory_->scales[(quad + half) % 4][r], scales + half * steps_of_quad, steps_of_quad * 4);
        if (Step::has_shift) {
          std::memcpy(memory_->shifts[(quad + half) % 4][r], shifts + half * quad_blocks, quad_blocks * 4);
        }
      }
    }
    if (quad % 2 == 0) fetch_beside(p, rows, block);
  }

  // Fetches what two quads of the next sixteen rows have beside their low bits.
  __attribute__((always_inline)) void fetch_beside(const Planes& p, const Rows& rows, std::uint32_t block) const {
    const std::size_t next = static_cast<std::size_t>(rows.first + outputs_together) * blocks_;
    const auto fetch = [&](const unsigned char* plane, std::size_t block_bytes) {
      const auto* from = reinterpret_cast<const char*>(plane + (next + block * outputs_together) * block_bytes);
      const std::size_t bytes = std::size_t{2 * quad_blocks} * outputs_together * block_bytes;
      for (std::size_t at = 0; at < bytes; at += 64) _mm_prefetch(from + at, _MM_HINT_T0);
    };
    fetch(p.scales, Step::scale_bytes);
    if (Step::has_shift) fetch(p.mins, Step::scale_bytes);
    if (Step::high_bytes != 0) fetch(p.high, Step::high_bytes);
  }

  // The integer sums of two or four steps. Tile numbers must be literals.
  template <std::uint32_t steps>
  __attribute__((always_inline)) void multiply_steps(const Operand& left, std::uint32_t first,
                                                     const std::int8_t* operands) const {
    const auto weights = [&](std::uint32_t s) { return left.first + Step::step_at(first + s); };
    const auto inputs = [&](std::uint32_t s) { return operands + (first + s) * (operand_bytes / steps_of_block); };
    finish_stores();
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, weights(0), left.row);
    _tile_loadd(6, inputs(0), 64);
    _tile_dpbssd(0, 4, 6);
    _tile_loadd(5, weights(1), left.row);
    _tile_loadd(7, inputs(1), 64);
    _tile_dpbssd(1, 5, 7);
    if constexpr (steps == 4) {
      _tile_zero(2);
      _tile_zero(3);
      _tile_loadd(4, weights(2), left.row);
      _tile_loadd(6, inputs(2), 64);
      _tile_dpbssd(2, 4, 6);
      _tile_loadd(5, weights(3), left.row);
      _tile_loadd(7, inputs(3), 64);
      _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(0, memory_->sums[0], 64);
    _tile_stored(1, memory_->sums[1], 64);
    if constexpr (steps == 4) {
      _tile_stored(2, memory_->sums[2], 64);
      _tile_stored(3, memory_->sums[3], 64);
    }
    finish_stores();
  }

  // Scales and adds four steps. The next sixteen rows are fetched into the cache along the way, a line now and then:
  // many at once would hold up the products.
  template <std::uint32_t steps>
  __attribute__((always_inline)) void add_steps(const Planes& p, const Rows& rows, std::uint32_t quad,
                                                std::uint32_t first, const float* lane_sums, __m512 lane_scales,
                                                __m512 sums[outputs_together]) const {
    const std::size_t row_bytes = blocks_ * Step::block_bytes;
    const auto* next = reinterpret_cast<const char*>(p.low + (rows.first + outputs_together) * row_bytes) +
                       (std::size_t{quad} * steps_of_quad + first) * next_lines * 64;
    const auto& scales = memory_->scales[quad % 4];
    const auto& shifts = memory_->shifts[quad % 4];
    for_each_index(
        [&](auto s) __attribute__((always_inline)) {
          const __m512 both_sums = _mm512_mul_ps(_mm512_load_ps(lane_sums + s / 2 * lane_count), lane_scales);
          for_each_index(
              [&](auto r) __attribute__((always_inline)) {
                constexpr std::uint32_t spread = outputs_together / next_lines;
                if (r % spread == 0) fetch_between(next + (s * next_lines + r / spread) * 64, sums[r]);
                const __m512 values = _mm512_cvtepi32_ps(_mm512_load_si512(memory_->sums[s][r]));
                const __m512 scale = _mm512_mul_ps(lane_scales, _mm512_set1_ps(scales[r][first + s]));
                sums[r] = _mm512_fmadd_ps(values, scale, sums[r]);
                if (!Step::has_shift || s % 2 != 0) return;
                double pair;
                std::memcpy(&pair, &shifts[r][s], sizeof pair);
                sums[r] = _mm512_fmadd_ps(both_sums, _mm512_castpd_ps(_mm512_set1_pd(pair)), sums[r]);
              },
              Outputs{});
        },
        std::make_index_sequence<steps>{});
  }

  const std::uint32_t blocks_;
  Memory* memory_ = nullptr;
};

// Calls product(weights, inputs of the rows, first output, count, out (8, 16)) for all of a range, and writes out to y.
template <typename Format, typename Product, typename Multiply>
void for_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end, std::uint32_t tile_outputs, float* y,
                   const Multiply& product) {
  const auto& args = *static_cast<const typename Product::Args*>(launch.buffers[0]);
  const std::uint32_t blocks = args.columns / block_weights;
  StepWeights<Format> weights(blocks);
  unsigned char* memory = scratch(weights.bytes() + few_lanes_bytes(args.rows, args.columns));
  weights.place(memory);
  unsigned char* inputs = few_inputs<Product>(launch, memory + weights.bytes());
  const TileUnit unit(StepFormat<Format>::columns, StepFormat<Format>::columns / 4);
  // A head's logits: stores that wait for their lines to be read would hold up the tiles' own.
  const bool streams = args.outputs >= least_streamed && args.outputs % outputs_together == 0 &&
                       reinterpret_cast<std::uintptr_t>(y) % 64 == 0;
  for_few_rows(launch, args, tile_outputs, begin, end, [&](auto m, auto rows, auto first_output, auto last_output) {
    const LaneInputs x(inputs + m / rows_together * LaneInputs::bytes(blocks), blocks);
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
  const auto product = [&](auto& weights, const LaneInputs& x, std::uint32_t n, std::uint32_t count, float* out) {
    weights.multiply(planes, n, count, x, out);
    for (int i = 0; i < rows_together; i++) finish(out + i * outputs_together, n, n + count);
  };
  for_few_tiles<Format, PlainProduct>(launch, begin, end, BATCH_OUTPUTS, static_cast<float*>(launch.buffers[3]),
                                      product);
}

template <typename Format>
void matmul_glu_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes), up_planes(launch.buffers[2], args.up_planes);
  const auto product = [&](auto& weights, const LaneInputs& x, std::uint32_t n, std::uint32_t count, float* out) {
    alignas(64) float gates[rows_together * outputs_together];
    weights.multiply(gate_planes, n, count, x, gates);
    weights.multiply(up_planes, n, count, x, out);
    for (int i = 0; i < rows_together * lane_count; i += width) {
      store(out + i, load(out + i) * activate(args.activation, load(gates + i)));
    }
  };
  for_few_tiles<Format, GatedProduct>(launch, begin, end, GLU_BATCH_OUTPUTS, static_cast<float*>(launch.buffers[4]),
                                      product);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
