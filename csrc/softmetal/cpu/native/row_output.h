// Results that a kernel writes as floats, or rounded to bfloat16 where only products of many rows read them, which
// would round them anyway; the native twin of shaders/include/bfloat_output.h.
#pragma once

#include <cstddef>

#include "cpu/native/native.h"
#include "cpu/native/vector.h"

namespace softmetal::cpu::native::FASTGO_ISA {

inline void store_rounded(float* p, Vector v) { store(p, v); }

// To nearest, ties to even; NaN stays NaN.
#if defined(__AVX512BF16__)
inline void store_rounded(Bfloat* p, Vector v) {
  const __m256bh halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(v));
  std::memcpy(p, &halves, sizeof halves);
}
#else
inline void store_rounded(Bfloat* p, Vector v) {
  typedef std::uint16_t Halves __attribute__((vector_size(sizeof(Vector) / 2)));
  const BitVector bits = reinterpret_cast<BitVector>(v), is_nan = reinterpret_cast<BitVector>(v != v);
  const BitVector rounded = bits + 0x7FFF + (bits >> 16 & 1);
  const Halves halves = __builtin_convertvector(((rounded & ~is_nan) | ((bits | 0x400000) & is_nan)) >> 16, Halves);
  std::memcpy(p, &halves, sizeof halves);
}
#endif

// A row of y, which begins at element `start`, of T: float or Bfloat.
template <typename T>
class RowOutput {
 public:
  RowOutput(void* y, std::size_t start) : row_(static_cast<T*>(y) + start) {}

  void write(std::uint32_t i, Vector v) const { store_rounded(row_ + i, v); }
  void write(std::uint32_t i, float x) const { store_from_float(row_ + i, x); }

 private:
  T* row_;
};

}  // namespace softmetal::cpu::native::FASTGO_ISA
