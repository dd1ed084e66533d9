// Products that four warps compute together, on GPUs that have wgmma (sm_90a): left operands in registers, right ones
// in shared memory.
//
// A right operand's stored rows are cut into panels of 64 elements. A panel is aligned to 1024 bytes, and of its row r
// the vectors of 16 bytes lie in the order of their numbers' exclusive or with r % 8. The left operand and the sums are
// those of matrix_16x16.h: a warp has sixteen rows of 64. Layouts as in the PTX manual, "Asynchronous warpgroup level
// matrix instructions", with swizzling of 128 bytes.
#pragma once

#include "matrix_16x16.h"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

namespace metal {
namespace cuda {

constexpr uint panel_elements = 64, panel_row = 128, panel_eight = 1024;  // the latter two in bytes

// Where vector `vector` of row `row` lies in panels of `rows` rows, in vectors.
METAL_FUNC uint panel_place(uint rows, uint row, uint vector) {
  return vector / 8 * rows * 8 + row * 8 + (vector % 8 ^ row % 8);
}

// Of what begins at `address`, eight rows of 128 bytes after eight others.
METAL_FUNC ulong panel_descriptor(uint address) {
  constexpr ulong swizzled = ulong(1) << 62;
  return ulong(address >> 4 & 0x3FFF) | ulong(1) << 16 | ulong(panel_eight >> 4) << 32 | swizzled;
}

#define SOFTMETAL_SUM8(sums, i)                                                                               \
  "+f"(sums[i].elements[0]), "+f"(sums[i].elements[1]), "+f"(sums[i].elements[2]), "+f"(sums[i].elements[3]), \
      "+f"(sums[i].elements[4]), "+f"(sums[i].elements[5]), "+f"(sums[i].elements[6]), "+f"(sums[i].elements[7])
#define SOFTMETAL_LEFT(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])

// sums (64 x 16 or 64 x 64, as so many 16x16 ones) = a b, or added to them if `adds`.
#define SOFTMETAL_WGMMA(T, name)                                                                                      \
  template <bool TRANSPOSED>                                                                                          \
  METAL_FUNC void multiply_64x16(T, SumMatrix* sums, const uint* a, ulong b, bool adds) {                             \
    asm volatile(                                                                                                     \
        "{.reg .pred p; setp.ne.u32 p, %13, 0;\n"                                                                     \
        "wgmma.mma_async.sync.aligned.m64n16k16.f32." name "." name                                                   \
        " {%0, %1, %2, %3, %4, %5, %6, %7}, {%8, %9, %10, %11}, %12, p, 1, 1, %14;}"                                  \
        : SOFTMETAL_SUM8(sums, 0)                                                                                     \
        : SOFTMETAL_LEFT(a), "l"(b), "r"(uint(adds)), "n"(int(TRANSPOSED))                                            \
        : "memory");                                                                                                  \
  }                                                                                                                   \
  template <bool TRANSPOSED>                                                                                          \
  METAL_FUNC void multiply_64x64(T, SumMatrix* sums, const uint* a, ulong b, bool adds) {                             \
    asm volatile(                                                                                                     \
        "{.reg .pred p; setp.ne.u32 p, %37, 0;\n"                                                                     \
        "wgmma.mma_async.sync.aligned.m64n64k16.f32." name "." name                                                   \
        " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
        "%23, %24, %25, %26, %27, %28, %29, %30, %31}, {%32, %33, %34, %35}, %36, p, 1, 1, %38;}"                     \
        : SOFTMETAL_SUM8(sums, 0), SOFTMETAL_SUM8(sums, 1), SOFTMETAL_SUM8(sums, 2), SOFTMETAL_SUM8(sums, 3)          \
        : SOFTMETAL_LEFT(a), "l"(b), "r"(uint(adds)), "n"(int(TRANSPOSED))                                            \
        : "memory");                                                                                                  \
  }
SOFTMETAL_WGMMA(half, "f16")
SOFTMETAL_WGMMA(bfloat, "bf16")
#undef SOFTMETAL_WGMMA
#undef SOFTMETAL_SUM8
#undef SOFTMETAL_LEFT

// Keeps the compiler from moving what reads or writes the registers across.
template <uint COUNT>
METAL_FUNC void pin(SumMatrix* sums) {
#pragma unroll
  for (uint i = 0; i < COUNT * 8; i++) asm volatile("" : "+f"(sums[i / 8].elements[i % 8])::"memory");
}
template <uint COUNT, typename T>
METAL_FUNC void pin(LeftMatrix<T>* left) {
#pragma unroll
  for (uint i = 0; i < COUNT * 4; i++) asm volatile("" : "+r"(left[i / 4].parts[i % 4])::"memory");
}

// sums (64 rows, 16 OUTPUTS) = left (64 rows, 16 INNER) right, or with that added if ADDS. All four warps call it.
// TRANSPOSED: the stored rows are the rows of the right operand, else its columns; there are ROWS of them.
template <typename T, uint INNER, uint OUTPUTS, uint ROWS, bool TRANSPOSED, bool ADDS>
METAL_FUNC void multiply_in_warpgroup(SumMatrix* sums, LeftMatrix<T>* left, const uint4* right) {
  const uint address = shared_address(right);
  pin<OUTPUTS>(sums);
  pin<INNER>(left);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
  for (uint k = 0; k < INNER; k++) {
    // Sixteens of the outputs, in fours and then one by one.
    const auto part = [&](uint i) {
      const uint row = (TRANSPOSED ? k : i) * 16, element = (TRANSPOSED ? i : k) * 16;
      return panel_descriptor(address + (element / panel_elements * ROWS + row) * panel_row +
                              element % panel_elements * 2);
    };
#pragma unroll
    for (uint i = 0; i < OUTPUTS / 4 * 4; i += 4) {
      multiply_64x64<TRANSPOSED>(T(), sums + i, left[k].parts, part(i), ADDS || k > 0);
    }
#pragma unroll
    for (uint i = OUTPUTS / 4 * 4; i < OUTPUTS; i++) {
      multiply_64x16<TRANSPOSED>(T(), sums + i, left[k].parts, part(i), ADDS || k > 0);
    }
  }
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  pin<OUTPUTS>(sums);
}

}  // namespace cuda
}  // namespace metal

#endif
