// Weights in the order in which the products of a few rows (few_rows_amx.h) read them: sixteen outputs side by side.
//
// Sixteen outputs are a group, two blocks of 32 columns of a group a pair, and a group is one pair after another:
//
// * of each of its two blocks the low bits: 64 bytes for each four columns from j on of its first half, of which byte
//   4 r + i is output r's column j + i; in the upper half of such a byte, or for whole bytes in 256 bytes more, is
//   column j + i + 16;
// * of each block the fifth bits, where there are any, in 64 bytes: byte 4 r + i has those of output r's columns
//   4 v + i (fifth_bit_at);
// * of each block, or half block, sixteen scales;
// * of each block sixteen shifts, where there are any.
//
// So a block is a right operand of the unit once its nibbles are apart, and bytes are one as they stand.
#pragma once

#include "cpu/native/amx_tile.h"
#include "cpu/native/few_rows.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t outputs_together = tile_height;
constexpr std::uint32_t quad_blocks = 4;
constexpr std::size_t block_operand = block_weights * outputs_together;  // bytes

enum class ScaleType { half, single };

// How weights are stored. Of integers with a zero the stored value is `integer - zero` in the upper bits of a byte.
template <std::uint32_t bits, std::int32_t zero, std::uint32_t columns, ScaleType type>
struct Packing {
  static constexpr std::uint32_t stored_bits = bits, step_columns = columns;
  static constexpr std::int32_t taken_off = zero;
  static constexpr bool is_signed = zero != 0 || bits == 8;
  static constexpr bool has_shift = !is_signed;
  static constexpr int raised = zero != 0 ? 8 - static_cast<int>(bits) : 0;  // bits by which a byte is above the value
  static constexpr ScaleType scale_type = type;
};

template <typename Format>
struct PackingOf;
template <>
struct PackingOf<Q4_0> : Packing<4, 8, 32, ScaleType::half> {};
template <>
struct PackingOf<Q4_1> : Packing<4, 0, 32, ScaleType::half> {};
template <>
struct PackingOf<Q4_K> : Packing<4, 0, 32, ScaleType::single> {};
template <>
struct PackingOf<Q5_0> : Packing<5, 16, 32, ScaleType::half> {};
template <>
struct PackingOf<Q5_1> : Packing<5, 0, 32, ScaleType::half> {};
template <>
struct PackingOf<Q5_K> : Packing<5, 0, 32, ScaleType::single> {};
template <>
struct PackingOf<Q6_K> : Packing<8, 32, 16, ScaleType::single> {};
template <>
struct PackingOf<Q8_0> : Packing<8, 0, 32, ScaleType::half> {};

// Where the parts of a pair are, bytes.
template <typename Format>
struct PairLayout {
  using P = PackingOf<Format>;
  static constexpr std::size_t low = P::stored_bits == 8 ? block_operand : block_operand / 2;  // of a block
  static constexpr std::size_t high = P::stored_bits == 5 ? 64 : 0;
  static constexpr std::size_t scale = outputs_together * (P::scale_type == ScaleType::half ? 2 : 4);  // of a step
  static constexpr std::uint32_t steps = 2 * block_weights / P::step_columns;
  static constexpr std::size_t high_at = 2 * low;
  static constexpr std::size_t scales_at = high_at + 2 * high;
  static constexpr std::size_t shifts_at = scales_at + steps * scale;
  static constexpr std::size_t bytes = shifts_at + (P::has_shift ? 2 * scale : 0);
  static_assert(bytes % 64 == 0, "pairs begin with a cache line");
};

inline std::uint32_t whole_pairs(std::uint32_t blocks) { return (blocks + 1) / 2; }

template <typename Format>
std::size_t packed_group_bytes(std::uint32_t blocks) {
  return whole_pairs(blocks) * PairLayout<Format>::bytes;
}

inline __m512 load_scales(const unsigned char* from, ScaleType type) {
  return type == ScaleType::half ? _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))
                                 : _mm512_loadu_ps(from);
}

// Exact, as halves come from halves.
inline void store_scales(__m512 scales, ScaleType type, unsigned char* to) {
  if (type == ScaleType::half) {
    const __m256i halves = _mm512_cvtps_ph(scales, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), halves);
  } else {
    _mm512_storeu_ps(to, scales);
  }
}

// Where a byte of fifth bits has that of fours `v` of a block's first (0) or second (1) half.
constexpr int fifth_bit_at(int v, int half) { return v % 2 * 4 + half * 2 + v / 2; }

// Sixteen bytes of each of sixteen rows: out[v] has bytes 4 v .. 4 v + 3 of all rows, row(r) being where they are.
template <typename Row>
__attribute__((always_inline)) inline void side_by_side(const Row& row, __m512i* out) {
  __m512i fours[4];  // in 128 bits k of fours[i]: row 4 k + i
  for (int i = 0; i < 4; i++) {
    const auto load = [&](int k) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row(4 * k + i))); };
    fours[i] = _mm512_inserti32x4(_mm512_castsi128_si512(load(0)), load(1), 1);
    fours[i] = _mm512_inserti32x4(_mm512_inserti32x4(fours[i], load(2), 2), load(3), 3);
  }
  const __m512i lower = _mm512_unpacklo_epi32(fours[0], fours[1]), upper = _mm512_unpackhi_epi32(fours[0], fours[1]);
  const __m512i lower2 = _mm512_unpacklo_epi32(fours[2], fours[3]), upper2 = _mm512_unpackhi_epi32(fours[2], fours[3]);
  out[0] = _mm512_unpacklo_epi64(lower, lower2);
  out[1] = _mm512_unpackhi_epi64(lower, lower2);
  out[2] = _mm512_unpacklo_epi64(upper, upper2);
  out[3] = _mm512_unpackhi_epi64(upper, upper2);
}

// The scales and shifts of a row's eight blocks from `block` on; 0 for those beyond the row.
template <typename Format>
struct RowAffine {
  static void load(const Planes& p, std::uint64_t block, std::uint32_t left, float* scales, float* shifts) {
    const GroupAffine affine = Vnni<Format>::affine(p, block, present_blocks(left, 0));
    _mm256_store_ps(scales, affine.scale);
    _mm256_store_ps(shifts, affine.shift);
  }
};

template <>
struct RowAffine<Q8_0> {
  static void load(const Planes& p, std::uint64_t block, std::uint32_t left, float* scales, float*) {
    _mm256_store_ps(scales, halves_at(p.scales, block, present_blocks(left, 0)));
  }
};

template <>
struct RowAffine<Q6_K> {
  static void load(const Planes& p, std::uint64_t block, std::uint32_t, float* scales, float*) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p.scales + block * 2));
    const __m512 super_scale = _mm512_set1_ps(half_at(p.super_scales, block / super_block_blocks));
    _mm512_store_ps(scales, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)), super_scale));
  }
};

// Packs groups of outputs. Rows that a last group lacks are the last one again.
template <typename Format>
class Packer {
 public:
  Packer(const Planes& planes, std::uint32_t outputs, std::uint32_t blocks)
      : planes_(planes), outputs_(outputs), blocks_(blocks) {}

  void pack(std::uint32_t group, unsigned char* out) const {
    std::uint64_t rows[outputs_together];  // first blocks
    for (std::uint32_t r = 0; r < outputs_together; r++) {
      rows[r] = std::uint64_t{smaller(group * outputs_together + r, outputs_ - 1)} * blocks_;
    }
    for (std::uint32_t block = 0; block < blocks_; block += quad_blocks) {
      if (block % group_blocks == 0) pack_affine(rows, block, out);
      pack_quad(rows, block, smaller(quad_blocks, whole_pairs(blocks_ - block) * 2), out);
    }
  }

 private:
  using P = PackingOf<Format>;
  using Layout = PairLayout<Format>;
  static constexpr std::uint32_t block_steps = block_weights / P::step_columns;

  unsigned char* pair_of(std::uint32_t block, unsigned char* out) const { return out + block / 2 * Layout::bytes; }

  void pack_affine(const std::uint64_t* rows, std::uint32_t block, unsigned char* out) const {
    alignas(64) float scales[outputs_together][group_blocks * block_steps], shifts[outputs_together][group_blocks];
    for (std::uint32_t r = 0; r < outputs_together; r++) {
      RowAffine<Format>::load(planes_, rows[r] + block, blocks_ - block, scales[r], shifts[r]);
    }
    const std::uint32_t blocks = smaller(group_blocks, whole_pairs(blocks_ - block) * 2);
    for (std::uint32_t s = 0; s < blocks * block_steps; s += 4) {
      __m512i four[4];
      side_by_side([&](int r) { return scales[r] + s; }, four);
      for (std::uint32_t i = s; i < smaller(s + 4, blocks * block_steps); i++) {
        unsigned char* to =
            pair_of(block + i / block_steps, out) + Layout::scales_at + i % Layout::steps * Layout::scale;
        store_scales(_mm512_castsi512_ps(four[i - s]), P::scale_type, to);
      }
      if (!P::has_shift) continue;
      side_by_side([&](int r) { return shifts[r] + s; }, four);
      for (std::uint32_t i = s; i < smaller(s + 4, blocks); i++) {
        unsigned char* to = pair_of(block + i, out) + Layout::shifts_at + i % 2 * Layout::scale;
        store_scales(_mm512_castsi512_ps(four[i - s]), P::scale_type, to);
      }
    }
  }

  // `count` blocks, two or four; the row may end before the last one.
  void pack_quad(const std::uint64_t* rows, std::uint32_t block, std::uint32_t count, unsigned char* out) const {
    if constexpr (P::stored_bits < 8) {
      pack_nibbles(rows, block, count, out);
      if constexpr (P::stored_bits == 5) pack_fifth_bits(rows, block, count, out);
    } else if constexpr (P::taken_off == 0) {
      const auto row = [&](int r) { return planes_.low + (rows[r] + block) * block_weights; };
      pack_bytes(row, block_weights, block_weights / 2, block, count, out);
    } else {
      alignas(64) unsigned char bytes[outputs_together][quad_blocks * block_weights];
      const __m512i zero = _mm512_set1_epi8(static_cast<char>(P::taken_off));
      for (std::uint32_t r = 0; r < outputs_together; r++) {
        const Quad q = quad(rows[r] + block);
        _mm512_store_si512(bytes[r], _mm512_sub_epi8(q.first, zero));
        _mm512_store_si512(bytes[r] + 64, _mm512_sub_epi8(q.last, zero));
      }
      pack_bytes([&](int r) { return bytes[r]; }, block_weights / 2, 2 * block_weights, block, count, out);
    }
    // The next group's rows; the processor's own fetching does not reach so far.
    constexpr std::size_t low_bytes = P::stored_bits == 8 && P::taken_off == 0 ? block_weights : block_weights / 2;
    for (std::uint32_t r = 0; r < outputs_together; r++) {
      const unsigned char* next = planes_.low + (rows[r] + outputs_together * blocks_ + block) * low_bytes;
      for (std::size_t at = 0; at < quad_blocks * low_bytes; at += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(next) + at, _MM_HINT_T0);
      }
    }
  }

  Quad quad(std::uint64_t block) const {
    if constexpr (P::step_columns == 16) {
      return load_six_bits(planes_, block);
    } else {
      return Vnni<Format>::quad(planes_, block);
    }
  }

  void pack_nibbles(const std::uint64_t* rows, std::uint32_t block, std::uint32_t count, unsigned char* out) const {
    // Taking off the middle of what the bits hold flips the highest of them.
    const __m512i flipped = _mm512_set1_epi8(static_cast<char>(P::taken_off == 8 ? 0x88 : 0));
    for (std::uint32_t b = block; b < block + count; b++) {
      __m512i bytes[4];
      side_by_side([&](int r) { return planes_.low + (rows[r] + b) * (block_weights / 2); }, bytes);
      unsigned char* to = pair_of(b, out) + b % 2 * Layout::low;
      for (int v = 0; v < 4; v++) _mm512_store_si512(to + v * 64, _mm512_xor_si512(bytes[v], flipped));
    }
  }

  // A word has a row's bit of column 4 k + i at 4 k + i; it is to be at 8 i + fifth_bit_at. Numbering bits by five
  // digits, that exchanges the first with the fourth and the second with the last.
  void pack_fifth_bits(const std::uint64_t* rows, std::uint32_t block, std::uint32_t count, unsigned char* out) const {
    __m512i words[4];
    side_by_side([&](int r) { return planes_.high + (rows[r] + block) * 4; }, words);
    const __m512i flipped = _mm512_set1_epi8(static_cast<char>(P::taken_off == 16 ? 0xff : 0));
    for (std::uint32_t b = 0; b < count; b++) {
      const __m512i bits = exchange_bits<7>(exchange_bits<14>(words[b], 0xcccc), 0xaa00aa);
      unsigned char* to = pair_of(block + b, out) + Layout::high_at + b % 2 * Layout::high;
      _mm512_store_si512(to, _mm512_xor_si512(bits, flipped));
    }
  }

  // Exchanges the bits of `lower` with those `distance` above.
  template <unsigned distance>
  static __m512i exchange_bits(__m512i words, std::uint32_t lower) {
    const __m512i differ = _mm512_and_si512(_mm512_xor_si512(_mm512_srli_epi32(words, distance), words),
                                            _mm512_set1_epi32(static_cast<std::int32_t>(lower)));
    return _mm512_xor_si512(words, _mm512_xor_si512(differ, _mm512_slli_epi32(differ, distance)));
  }

  // Blocks of whole bytes, whose halves are `half` bytes apart and which are `next` bytes apart.
  template <typename Row>
  void pack_bytes(const Row& row, std::size_t next, std::size_t half, std::uint32_t block, std::uint32_t count,
                  unsigned char* out) const {
    for (std::uint32_t b = 0; b < count; b++) {
      unsigned char* to = pair_of(block + b, out) + b % 2 * Layout::low;
      for (std::size_t side = 0; side < 2; side++) {
        __m512i bytes[4];
        side_by_side([&](int r) { return row(r) + b * next + side * half; }, bytes);
        for (std::size_t v = 0; v < 4; v++) _mm512_store_si512(to + (side * 4 + v) * 64, bytes[v]);
      }
    }
  }

  const Planes planes_;
  const std::uint32_t outputs_, blocks_;
};

// A matrix's groups: in memory that outlives a launch and is zeroed at first, where there is some; each is packed when
// it is first wanted. Else in the caller's scratch memory, over and over.
template <typename Format>
class PackedMatrix {
 public:
  static std::uint64_t kept_bytes(std::uint32_t outputs, std::uint32_t blocks) {
    const std::uint64_t groups = whole_tiles(outputs);
    return groups * packed_group_bytes<Format>(blocks) + (groups + 63) / 64 * 64;
  }

  PackedMatrix(const Planes& planes, std::uint32_t outputs, std::uint32_t blocks, unsigned char* kept,
               unsigned char* scratch_group)
      : packer_(planes, outputs, blocks),
        group_bytes_(packed_group_bytes<Format>(blocks)),
        kept_(kept),
        states_(kept == nullptr ? nullptr : kept + whole_tiles(outputs) * group_bytes_),
        scratch_(scratch_group) {}

  // Brings the beginning of a kept group into the cache.
  void fetch(std::uint32_t index) const {
    if (kept_ == nullptr) return;
    const unsigned char* place = kept_ + index * group_bytes_;
    for (std::size_t at = 0; at < first_bytes; at += 64) _mm_prefetch(place + at, _MM_HINT_T0);
  }

  const unsigned char* group(std::uint32_t index) const {
    if (kept_ == nullptr) return pack_to_scratch(index);
    unsigned char* place = kept_ + index * group_bytes_;
    unsigned char* state = states_ + index;
    unsigned char seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
    if (seen == packed) return place;
    // Two threads may share a group at the edges of their pieces, or have different rows.
    if (seen == being_packed ||
        !__atomic_compare_exchange_n(state, &seen, being_packed, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
      return pack_to_scratch(index);
    }
    packer_.pack(index, place);
    __atomic_store_n(state, packed, __ATOMIC_RELEASE);
    return place;
  }

 private:
  static constexpr unsigned char being_packed = 1, packed = 2;

  const unsigned char* pack_to_scratch(std::uint32_t index) const {
    if (index != in_scratch_) packer_.pack(index, scratch_);
    in_scratch_ = index;
    return scratch_;
  }

  const Packer<Format> packer_;
  const std::size_t group_bytes_;
  unsigned char* const kept_;
  unsigned char* const states_;
  unsigned char* const scratch_;
  static constexpr std::size_t first_bytes = 4096;
  mutable std::uint32_t in_scratch_ = ~std::uint32_t{0};  // a group, or none
};

}  // namespace softmetal::cpu::native::FASTGO_ISA
