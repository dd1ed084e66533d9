// shaders/include/attention_tile.h on NVIDIA: scores and weights stay in registers, and tiles of 16-bit caches are
// copied asynchronously. Where there is wgmma a tile is multiplied by the whole threadgroup of four warps.
//
// A lane has elements of rows lane / 4 and lane / 4 + 8, which four neighbouring lanes share. The matrix of sums is, as
// it lies in registers, a left operand: fragments of both agree once neighbours are packed.
#pragma once

#include "warpgroup_matrix.h"

namespace metal {

constexpr float LOWEST_TILE_SCORE = -3.0e38f;

struct BySimdgroup {
  enum : uint { LEAVES_OUT_TILES = 1 };
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct ByWarpgroup {
  enum : uint { LEAVES_OUT_TILES = 0 };
};

// Panels as in warpgroup_matrix.h. A tile has not as many positions as a head has elements: ptxas of CUDA 13.0 then
// keeps queries and weights, the left operands of both products, in the same registers.
template <uint HEAD_DIM>
struct TileShape {
  typedef ByWarpgroup Way;
  enum : uint {
    VECTORS = HEAD_DIM / 8,
    KEYS = HEAD_DIM <= 64 ? 128 : (HEAD_DIM < 192 ? 64 : 16),
    SIZE = (HEAD_DIM + cuda::panel_elements - 1) / cuda::panel_elements * KEYS * 8,
    ALIGNMENT = 64
  };
  static METAL_FUNC uint place(uint key, uint vector) { return cuda::panel_place(KEYS, key, vector); }
};

template <typename T, uint HEAD_DIM>
METAL_FUNC void multiply_keys(ByWarpgroup, LeftMatrix<T>* queries, const uint4* tile, SumMatrix* scores) {
  constexpr uint KEYS = TileShape<HEAD_DIM>::KEYS;
  cuda::multiply_in_warpgroup<T, HEAD_DIM / 16, KEYS / 16, KEYS, false, false>(scores, queries, tile);
}

template <typename T, uint HEAD_DIM>
METAL_FUNC void add_values(ByWarpgroup, LeftMatrix<T>* weights, const uint4* tile, SumMatrix* sums) {
  constexpr uint KEYS = TileShape<HEAD_DIM>::KEYS;
  cuda::multiply_in_warpgroup<T, KEYS / 16, HEAD_DIM / 16, KEYS, true, true>(sums, weights, tile);
}

// The first address that tiles may begin at; TileShape::ALIGNMENT vectors are enough to find one.
METAL_FUNC uint4* first_tile(ByWarpgroup, uint4* memory) {
  const uint past = cuda::shared_address(memory) % cuda::panel_eight;
  return memory + (past == 0 ? 0 : (cuda::panel_eight - past) / 16);
}

#else

template <uint HEAD_DIM>
struct TileShape {
  typedef BySimdgroup Way;
  enum : uint { VECTORS = HEAD_DIM / 8, KEYS = HEAD_DIM < 192 ? 32 : 16, SIZE = KEYS * (VECTORS + 1), ALIGNMENT = 0 };
  static METAL_FUNC uint place(uint key, uint vector) { return key * (VECTORS + 1) + vector; }
};

#endif

METAL_FUNC uint4* first_tile(BySimdgroup, uint4* memory) { return memory; }

template <typename C>
struct TileCopy {
  enum : uint { IS_DIRECT = 0 };
};
template <>
struct TileCopy<half> {
  enum : uint { IS_DIRECT = 1 };
};
template <>
struct TileCopy<bfloat> {
  enum : uint { IS_DIRECT = 1 };
};

METAL_FUNC void copy_to_tile(uint4* target, const uint4* source, bool is_there) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(cuda::shared_address(target)), "l"(source),
               "r"(is_there ? 16 : 0)
               : "memory");
}

METAL_FUNC void finish_tile() {
  asm volatile("cp.async.wait_all;" ::: "memory");
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

template <uint PARTS>
struct TileScratch {
  enum : uint { SIZE = 64 };
};

struct TileRow {
  uint2 visible[2];
  float best[2];
  float total[2];
};

METAL_FUNC void begin_rows(TileRow& row, const uint2* visible, uint lane) {
#pragma unroll
  for (uint r = 0; r < 2; r++) {
    row.visible[r] = visible[lane / 4 + r * 8];
    row.best[r] = LOWEST_TILE_SCORE;
    row.total[r] = 0.0f;
  }
}

METAL_FUNC void add_sink(TileRow& row, float sink, uint lane) {
#pragma unroll
  for (uint r = 0; r < 2; r++) {
    row.best[r] = sink;
    row.total[r] = lane % 4 == 0 ? 1.0f : 0.0f;
  }
}

template <uint PARTS>
METAL_FUNC void cap_scores(SumMatrix* scores, float cap) {
#pragma unroll
  for (uint i = 0; i < PARTS * 8; i++) {
    float& score = scores[i / 8].elements[i % 8];
    score = cap * ::tanhf(score / cap);
  }
}

namespace cuda {

METAL_FUNC float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

METAL_FUNC uint pack_two(half, float low, float high) {
  uint both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
METAL_FUNC uint pack_two(bfloat, float low, float high) {
  uint both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

METAL_FUNC float shuffled_max(float value, uint distance) {
  const float other = ::__shfl_xor_sync(all_lanes, value, distance);
  return value > other ? value : other;
}

// Over the four lanes that share a row.
METAL_FUNC float row_sum(float value) {
  value += ::__shfl_xor_sync(all_lanes, value, 1);
  return value + ::__shfl_xor_sync(all_lanes, value, 2);
}

}  // namespace cuda

template <typename T, uint PARTS, uint SUMS>
METAL_FUNC void weigh(const SumMatrix* scores, uint first, bool is_whole, TileRow& row, LeftMatrix<T>* weights,
                      SumMatrix* sums, float*, uint lane) {
  float values[PARTS * 8];
  float best[2] = {row.best[0], row.best[1]};
#pragma unroll
  for (uint i = 0; i < PARTS * 8; i++) {
    const uint r = i / 2 % 2;
    values[i] = scores[i / 8].elements[i % 8];
    if (!is_whole) {
      const uint position = first + i / 8 * 16 + i % 8 / 4 * 8 + lane % 4 * 2 + i % 2;
      const bool is_visible = position >= row.visible[r].x && position < row.visible[r].y;
      values[i] = is_visible ? values[i] : LOWEST_TILE_SCORE;
    }
    best[r] = best[r] > values[i] ? best[r] : values[i];
  }
  float base[2], factor[2];
#pragma unroll
  for (uint r = 0; r < 2; r++) {
    best[r] = cuda::shuffled_max(cuda::shuffled_max(best[r], 1), 2);
    base[r] = best[r] == LOWEST_TILE_SCORE ? 0.0f : best[r];
    factor[r] = cuda::fast_exp2(row.best[r] - base[r]);
    row.best[r] = best[r];
    row.total[r] *= factor[r];
  }
#pragma unroll
  for (uint i = 0; i < PARTS * 8; i++) {
    values[i] = cuda::fast_exp2(values[i] - base[i / 2 % 2]);
    row.total[i / 2 % 2] += values[i];
  }
#pragma unroll
  for (uint i = 0; i < PARTS * 4; i++) {
    weights[i / 4].parts[i % 4] = cuda::pack_two(T(), values[i * 2], values[i * 2 + 1]);
  }
  if (::__any_sync(cuda::all_lanes, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
    for (uint i = 0; i < SUMS * 8; i++) sums[i / 8].elements[i % 8] *= factor[i / 2 % 2];
  }
}

METAL_FUNC void store_states(const TileRow& row, float* states, uint lane) {
#pragma unroll
  for (uint r = 0; r < 2; r++) {
    float total = cuda::row_sum(row.total[r]);
    if (lane % 4 == 0) {
      states[lane / 4 + r * 8] = row.best[r];
      states[16 + lane / 4 + r * 8] = total;
    }
  }
}

METAL_FUNC void store_inverse_totals(const TileRow& row, float* inverse, uint lane) {
#pragma unroll
  for (uint r = 0; r < 2; r++) {
    float total = cuda::row_sum(row.total[r]);
    if (lane % 4 == 0) inverse[lane / 4 + r * 8] = 1.0f / total;
  }
}

}  // namespace metal
