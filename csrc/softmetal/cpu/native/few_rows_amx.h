// Integer products of a few rows (several sequences decoded together) on AMX: up to eight rows at a time, as
// few_inputs_amx.h lays them out, with weights as packed_weights_amx.h does.
//
// The rows are the left operand, sixteen outputs' weights the right one. One product covers the columns that share a
// scale, a step: 32, or 16 for Q6_K. Its integer sums, two registers a row, are scaled and added up in float32.
#pragma once

#include <utility>

#include "cpu/native/activation.h"
#include "cpu/native/few_inputs_amx.h"
#include "cpu/native/many_rows.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t steps_together = 4;
constexpr std::size_t least_streamed = 4 << 20;  // bytes of results that bypass the caches: they would not stay there

// Calls f(0), f(1) ... with constants, so that what they index stays in registers.
template <typename F, std::size_t... i>
__attribute__((always_inline)) inline void for_each_index(const F& f, std::index_sequence<i...>) {
  (f(std::integral_constant<std::uint32_t, i>{}), ...);
}

// Fetches a line into the cache between what makes `sum` and what uses it: the compiler would put all fetches in one
// place, where they hold up the loads of tiles. The first cache has few lines under way at a time, so that what it
// fetches should be in the second one already, unless whole bytes leave no time for that.
template <bool is_second_too>
__attribute__((always_inline)) inline void fetch_between(const unsigned char* at, __m512& sum) {
  if constexpr (is_second_too) {
    __asm__ volatile("prefetcht0 %1\n\tprefetcht1 %2" : "+v"(sum) : "m"(at[2048]), "m"(at[2048 + 8192]));
  } else {
    __asm__ volatile("prefetcht0 %1" : "+v"(sum) : "m"(at[4096]));
  }
}

// Asks for a line that is written soon: the other cores have it, as they read what lay there before.
inline void fetch_to_write(const float* at) { __asm__ volatile("prefetchw %0" : : "m"(*at)); }

// Products of a group's weights, in rounds of four steps: while the unit multiplies a round, the next one's nibbles are
// taken apart, and then the round's integer sums are scaled and added up.
template <typename Format>
class GroupProduct {
 public:
  // The operands that are made of weights, and the unit's sums.
  struct alignas(64) Memory {
    unsigned char operands[2][steps_together][block_operand];
    std::int32_t sums[steps_together][2 * rows_together][lane_count];
  };

  GroupProduct(std::uint32_t blocks, unsigned char* memory)
      : pairs_(whole_pairs(blocks)), memory_(reinterpret_cast<Memory*>(memory)) {}

  // out (8, 16) = the inputs' rows . the weights of a group
  void multiply(const unsigned char* group, const LaneInputs& x, float* out) const {
    // Copies, as bytes that are stored could change what references lead to.
    const GroupProduct product = *this;
    const LaneInputs inputs = x;
    product.multiply_group(group, inputs, out);
  }

 private:
  using P = PackingOf<Format>;
  using Layout = PairLayout<Format>;
  using Lanes = std::make_index_sequence<rows_together>;
  static constexpr bool is_in_place = P::stored_bits == 8;
  static constexpr std::uint32_t pairs_of_round =
      steps_together / Layout::steps == 0 ? 1 : steps_together / Layout::steps;
  static constexpr std::uint32_t block_steps = block_weights / P::step_columns;

  __attribute__((always_inline)) void multiply_group(const unsigned char* group, const LaneInputs& x,
                                                     float* out) const {
    const std::uint32_t rounds = pairs_ / pairs_of_round;
    const bool has_rest = pairs_ % pairs_of_round != 0;  // one pair
    __m512 totals[rows_together];
    for_each_index([&](auto m) __attribute__((always_inline)) { totals[m] = _mm512_setzero_ps(); }, Lanes{});
    if (rounds > 0) {
      unpack<steps_together>(group, 0);
    } else {
      unpack<2>(group, 0);
    }
    for (std::uint32_t round = 0; round < rounds; round++) {
      const unsigned char* pair = group + round * pairs_of_round * Layout::bytes;
      multiply_steps<steps_together>(pair, round, x);
      if (round + 1 < rounds) {
        unpack<steps_together>(pair + pairs_of_round * Layout::bytes, round + 1);
      } else if (has_rest) {
        unpack<2>(pair + pairs_of_round * Layout::bytes, round + 1);
      }
      add_steps<steps_together>(pair, round, x, totals);
    }
    if (has_rest) {
      const unsigned char* pair = group + rounds * pairs_of_round * Layout::bytes;
      multiply_steps<2>(pair, rounds, x);
      add_steps<2>(pair, rounds, x, totals);
    }
    for_each_index([&](auto m) __attribute__((always_inline)) { _mm512_storeu_ps(out + m * lane_count, totals[m]); },
                   Lanes{});
  }

  // Of step `s` of a round whose first pair is `pair`.
  static const unsigned char* low(const unsigned char* pair, std::uint32_t s) {
    return pair + s / Layout::steps * Layout::bytes + s % Layout::steps / block_steps * Layout::low;
  }

  template <std::uint32_t steps>
  __attribute__((always_inline)) void unpack(const unsigned char* pair, std::uint32_t round) const {
    if constexpr (!is_in_place) {
      for (std::uint32_t s = 0; s < steps; s++) {
        const unsigned char* high = pair + s / 2 * Layout::bytes + Layout::high_at + s % 2 * Layout::high;
        unpack_block(low(pair, s), high, memory_->operands[round % 2][s]);
      }
    }
  }

  __attribute__((always_inline)) static void unpack_block(const unsigned char* low, const unsigned char* high,
                                                          unsigned char* out) {
    const __m512i nibbles = _mm512_set1_epi8(static_cast<char>(15 << P::raised));
    const __m512i fifth = _mm512_set1_epi8(static_cast<char>(16 << P::raised));
    __m512i bits;
    if constexpr (P::stored_bits == 5) bits = _mm512_load_si512(high);
    for_each_index(
        [&](auto v) __attribute__((always_inline)) {
          const __m512i bytes = _mm512_load_si512(low + v * 64);
          __m512i first = _mm512_and_si512(P::raised == 0 ? bytes : _mm512_slli_epi16(bytes, P::raised), nibbles);
          __m512i last = _mm512_and_si512(P::raised == 4 ? bytes : _mm512_srli_epi16(bytes, 4 - P::raised), nibbles);
          if constexpr (P::stored_bits == 5) {
            constexpr int place = 4 + P::raised;  // of the fifth bit in an operand's byte
            first = or_and(first, shift<place - fifth_bit_at(v, 0)>(bits), fifth);
            last = or_and(last, shift<place - fifth_bit_at(v, 1)>(bits), fifth);
          }
          _mm512_store_si512(out + v * 64, first);
          _mm512_store_si512(out + 256 + v * 64, last);
        },
        std::make_index_sequence<4>{});
  }

  template <int up>
  static __m512i shift(__m512i bits) {
    if constexpr (up >= 0) return _mm512_slli_epi16(bits, static_cast<unsigned>(up));
    return _mm512_srli_epi16(bits, static_cast<unsigned>(up < 0 ? -up : 0));
  }

  static __m512i or_and(__m512i a, __m512i b, __m512i mask) { return _mm512_ternarylogic_epi32(a, b, mask, 0xf8); }

  // The integer sums of two or four steps. Tile numbers must be literals.
  template <std::uint32_t steps>
  __attribute__((always_inline)) void multiply_steps(const unsigned char* pair, std::uint32_t round,
                                                     const LaneInputs& x) const {
    const auto weights = [&](std::uint32_t s) {
      return is_in_place ? low(pair, s) + s % block_steps * (block_operand / 2) : memory_->operands[round % 2][s];
    };
    const auto inputs = [&](std::uint32_t s) {
      const std::uint32_t block = round * (steps_together / block_steps) + s / block_steps;
      return x.operands + block * operand_bytes + s % block_steps * P::step_columns;
    };
    finish_stores();
    _tile_zero(0);
    _tile_zero(1);
    _tile_loadd(4, inputs(0), block_weights);
    _tile_loadd(6, weights(0), 64);
    _tile_loadd(5, inputs(1), block_weights);
    _tile_loadd(7, weights(1), 64);
    if constexpr (P::is_signed) {
      _tile_dpbssd(0, 4, 6);
      _tile_dpbssd(1, 5, 7);
    } else {
      _tile_dpbsud(0, 4, 6);
      _tile_dpbsud(1, 5, 7);
    }
    if constexpr (steps == 4) {
      _tile_zero(2);
      _tile_zero(3);
      _tile_loadd(4, inputs(2), block_weights);
      _tile_loadd(6, weights(2), 64);
      _tile_loadd(5, inputs(3), block_weights);
      _tile_loadd(7, weights(3), 64);
      if constexpr (P::is_signed) {
        _tile_dpbssd(2, 4, 6);
        _tile_dpbssd(3, 5, 7);
      } else {
        _tile_dpbsud(2, 4, 6);
        _tile_dpbsud(3, 5, 7);
      }
    }
    _tile_stored(0, memory_->sums[0], 64);
    _tile_stored(1, memory_->sums[1], 64);
    if constexpr (steps == 4) {
      _tile_stored(2, memory_->sums[2], 64);
      _tile_stored(3, memory_->sums[3], 64);
    }
    finish_stores();
  }

  // Scales and adds a round's steps. What comes later is fetched into the caches along the way, a line now and then:
  // many at once would hold up the products.
  template <std::uint32_t steps>
  __attribute__((always_inline)) void add_steps(const unsigned char* pair, std::uint32_t round, const LaneInputs& x,
                                                __m512 totals[rows_together]) const {
    constexpr std::uint32_t lines = steps / Layout::steps * (Layout::bytes / 64), slots = steps * rows_together;
    __m512 sums[rows_together];
    for_each_index([&](auto m) __attribute__((always_inline)) { sums[m] = _mm512_setzero_ps(); }, Lanes{});
    for_each_index(
        [&](auto s) __attribute__((always_inline)) {
          const unsigned char* at = pair + s / Layout::steps * Layout::bytes;
          __m512 scale = load_scales(at + Layout::scales_at + s % Layout::steps * Layout::scale, P::scale_type);
          if (P::raised != 0) scale = _mm512_mul_ps(scale, _mm512_set1_ps(1.0f / (1 << P::raised)));
          __m512 shift;
          if (P::has_shift) shift = load_scales(at + Layout::shifts_at + s % 2 * Layout::scale, P::scale_type);
          const float* input_sums = x.sums + (round * steps_together + s) * rows_together;
          for_each_index(
              [&](auto m) __attribute__((always_inline)) {
                if constexpr (lines > 0) {  // g++ 13 warns of a comparison with 0
                  for (std::uint32_t line = s * rows_together + m; line < lines; line += slots) {
                    fetch_between<!std::is_same_v<Format, Q8_0>>(pair + line * 64, sums[m]);
                  }
                }
                const __m512i high = _mm512_slli_epi32(_mm512_load_si512(memory_->sums[s][m]), 8);
                const __m512i both = _mm512_add_epi32(high, _mm512_load_si512(memory_->sums[s][m + rows_together]));
                sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(both), scale, sums[m]);
                if (P::has_shift) sums[m] = _mm512_fmadd_ps(shift, _mm512_set1_ps(input_sums[m]), sums[m]);
              },
              Lanes{});
        },
        std::make_index_sequence<steps>{});
    const float* scales = x.scales + round / block_steps * rows_together;
    for_each_index([&](auto m) __attribute__((
                       always_inline)) { totals[m] = _mm512_fmadd_ps(sums[m], _mm512_set1_ps(scales[m]), totals[m]); },
                   Lanes{});
  }

  const std::uint32_t pairs_;
  Memory* const memory_;
};

// Calls product(group, inputs of eight rows, first output, count, out (8, 16)) for all groups that a range touches, all
// rows of the range one after the other, and writes the outputs [first, first + count) of each to y. Before all that it
// calls fetch(first group), so that weights arrive while the inputs are made.
template <typename Product, typename Fetch, typename Multiply>
void for_few_groups(const Launch& launch, std::uint64_t begin, std::uint64_t end, std::uint32_t tile_outputs, float* y,
                    const Fetch& fetch, const Multiply& product) {
  static_assert(BATCH_ROWS == rows_together, "a column of the grid is what is multiplied together");
  const auto& args = Product::args(launch);
  const std::uint32_t blocks = args.columns / block_weights;
  const std::uint32_t group_outputs = tile_outputs * launch.threads_per_threadgroup.x / 32;
  fetch(static_cast<std::uint32_t>(begin / launch.threadgroups_per_grid.x) * group_outputs / outputs_together);
  unsigned char* inputs = few_inputs(static_cast<const float*>(launch.buffers[Product::x]), args.rows, args.columns);
  // A head's logits: stores that wait for their lines to be read would hold up the tiles' own.
  const std::size_t y_bytes = static_cast<std::size_t>(args.rows) * args.outputs * sizeof(float);
  const bool streams = y_bytes >= least_streamed && args.outputs % outputs_together == 0 &&
                       reinterpret_cast<std::uintptr_t>(y) % 64 == 0;
  const auto multiply = [&](std::uint32_t x, std::uint32_t n, std::uint32_t count) {
    const std::uint32_t first_row = x * rows_together;
    alignas(64) float out[rows_together][outputs_together];
    for (std::uint32_t i = 0; !streams && i < smaller(rows_together, args.rows - first_row); i++) {
      fetch_to_write(y + static_cast<std::size_t>(first_row + i) * args.outputs + n);
    }
    product(n / outputs_together, LaneInputs(inputs + x * LaneInputs::bytes(blocks), blocks), n, count, &out[0][0]);
    for (std::uint32_t i = 0; i < smaller(rows_together, args.rows - first_row); i++) {
      float* to = y + static_cast<std::size_t>(first_row + i) * args.outputs + n;
      if (count < outputs_together) {
        std::memcpy(to, out[i] + n % outputs_together, count * sizeof(float));
      } else if (streams) {
        _mm512_stream_ps(to, _mm512_load_ps(out[i]));
      } else {
        _mm512_storeu_ps(to, _mm512_load_ps(out[i]));
      }
    }
  };
  for_each_rectangle(begin, end, launch.threadgroups_per_grid.x, [&](auto x0, auto x1, auto y0, auto y1) {
    const std::uint32_t last_output = smaller(y1 * group_outputs, args.outputs);
    for (std::uint32_t n = y0 * group_outputs, count; n < last_output; n += count) {
      // A piece may begin within a group.
      count = smaller(outputs_together - n % outputs_together, last_output - n);
      for (std::uint32_t x = x0; x < x1; x++) multiply(x, n, count);
    }
  });
  if (streams) _mm_sfence();
}

// Scratch memory of a launch: what a product works with, and a group of each matrix packed for the moment.
template <typename Format>
struct FewScratch {
  FewScratch(std::uint32_t matrices, std::uint32_t blocks)
      : group_bytes(packed_group_bytes<Format>(blocks)), product(scratch(product_bytes + matrices * group_bytes)) {}

  unsigned char* group(std::uint32_t matrix) const { return product + product_bytes + matrix * group_bytes; }

  static constexpr std::size_t product_bytes = sizeof(typename GroupProduct<Format>::Memory);
  const std::size_t group_bytes;
  unsigned char* const product;
};

template <typename Format>
void matmul_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = PlainProduct::args(launch);
  const std::uint32_t blocks = args.columns / block_weights;
  const FewScratch<Format> memory(1, blocks);
  const PackedMatrix<Format> weights(Planes(launch.buffers[1], args.planes), args.outputs, blocks,
                                     kept_memory(launch, 0), memory.group(0));
  const GroupProduct<Format> group_product(blocks, memory.product);
  const Finish finish(launch);
  const TileUnit unit(PackingOf<Format>::step_columns, PackingOf<Format>::step_columns / 4);
  const auto product = [&](std::uint32_t group, const LaneInputs& x, std::uint32_t n, std::uint32_t count, float* out) {
    group_product.multiply(weights.group(group), x, out);
    if (!finish.is_needed()) return;
    float* first = out + n % outputs_together;
    for (int i = 0; i < rows_together; i++) finish(first + i * lane_count, n, n + count);
  };
  for_few_groups<PlainProduct>(
      launch, begin, end, BATCH_OUTPUTS, static_cast<float*>(launch.buffers[3]),
      [&](std::uint32_t group) { weights.fetch(group); }, product);
}

template <typename Format>
void matmul_glu_few_tiles(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = GatedProduct::args(launch);
  const std::uint32_t blocks = args.columns / block_weights;
  const FewScratch<Format> memory(2, blocks);
  const PackedMatrix<Format> gate(Planes(launch.buffers[1], args.gate_planes), args.outputs, blocks,
                                  kept_memory(launch, 0), memory.group(0));
  const PackedMatrix<Format> up(Planes(launch.buffers[2], args.up_planes), args.outputs, blocks, kept_memory(launch, 1),
                                memory.group(1));
  const GroupProduct<Format> group_product(blocks, memory.product);
  const TileUnit unit(PackingOf<Format>::step_columns, PackingOf<Format>::step_columns / 4);
  const auto product = [&](std::uint32_t group, const LaneInputs& x, std::uint32_t, std::uint32_t, float* out) {
    alignas(64) float gates[rows_together * outputs_together];
    group_product.multiply(gate.group(group), x, gates);
    group_product.multiply(up.group(group), x, out);
    for (int i = 0; i < rows_together * lane_count; i += width) {
      store(out + i, load(out + i) * activate(args.activation, load(gates + i)));
    }
  };
  for_few_groups<GatedProduct>(
      launch, begin, end, GLU_BATCH_OUTPUTS, static_cast<float*>(launch.buffers[4]),
      [&](std::uint32_t group) { gate.fetch(group), up.fetch(group); }, product);
}

// What the products of a few rows keep: their weights, packed.
template <typename Format, typename Product>
std::uint64_t few_kept_bytes(const Launch& launch) {
  const auto& args = Product::args(launch);
  return args.rows <= few_rows ? PackedMatrix<Format>::kept_bytes(args.outputs, args.columns / block_weights) : 0;
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
