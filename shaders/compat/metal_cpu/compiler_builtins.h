// Names of Apple's compiler that its library is made of. Shaders that extend the library to bfloat call them, MLX's for
// one; `fast` chooses between fast and precise mathematics there, which are the same here.
#pragma once

#include "math.h"
#include "simdgroup.h"

#define __METAL_MAYBE_FAST_MATH__ 0
#define __METAL_FAST_MATH__ 1
#define __METAL_PRECISE_MATH__ 0

#define SOFTMETAL_UNARY(name) \
  METAL_FUNC float __metal_##name(float x, int = 0) { return ::metal::name(x); }
SOFTMETAL_UNARY(acos)
SOFTMETAL_UNARY(acosh)
SOFTMETAL_UNARY(asin)
SOFTMETAL_UNARY(asinh)
SOFTMETAL_UNARY(atan)
SOFTMETAL_UNARY(atanh)
SOFTMETAL_UNARY(ceil)
SOFTMETAL_UNARY(cos)
SOFTMETAL_UNARY(cosh)
SOFTMETAL_UNARY(cospi)
SOFTMETAL_UNARY(exp)
SOFTMETAL_UNARY(exp10)
SOFTMETAL_UNARY(exp2)
SOFTMETAL_UNARY(fabs)
SOFTMETAL_UNARY(floor)
SOFTMETAL_UNARY(fract)
SOFTMETAL_UNARY(log)
SOFTMETAL_UNARY(log10)
SOFTMETAL_UNARY(log2)
SOFTMETAL_UNARY(rint)
SOFTMETAL_UNARY(round)
SOFTMETAL_UNARY(rsqrt)
SOFTMETAL_UNARY(sin)
SOFTMETAL_UNARY(sinh)
SOFTMETAL_UNARY(sinpi)
SOFTMETAL_UNARY(sqrt)
SOFTMETAL_UNARY(tan)
SOFTMETAL_UNARY(tanh)
SOFTMETAL_UNARY(tanpi)
SOFTMETAL_UNARY(trunc)
#undef SOFTMETAL_UNARY

#define SOFTMETAL_BINARY(name) \
  METAL_FUNC float __metal_##name(float x, float y, int = 0) { return ::metal::name(x, y); }
SOFTMETAL_BINARY(atan2)
SOFTMETAL_BINARY(divide)
SOFTMETAL_BINARY(fmax)
SOFTMETAL_BINARY(fmin)
SOFTMETAL_BINARY(fmod)
SOFTMETAL_BINARY(nextafter)
SOFTMETAL_BINARY(pow)
SOFTMETAL_BINARY(powr)
#undef SOFTMETAL_BINARY

METAL_FUNC float __metal_fma(float x, float y, float z) { return ::metal::fma(x, y, z); }
METAL_FUNC float __metal_fmax3(float x, float y, float z, int = 0) { return ::metal::max3(x, y, z); }
METAL_FUNC float __metal_fmin3(float x, float y, float z, int = 0) { return ::metal::min3(x, y, z); }
METAL_FUNC float __metal_fmedian3(float x, float y, float z, int = 0) { return ::metal::median3(x, y, z); }
METAL_FUNC float __metal_ldexp(float x, int exponent, int = 0) { return ::metal::ldexp(x, exponent); }
METAL_FUNC float __metal_frexp(float x, int* exponent) { return ::metal::frexp(x, *exponent); }

METAL_FUNC constexpr ushort __metal_get_simdgroup_size(ushort) { return 32; }

#define SOFTMETAL_COLLECTIVE(name)                      \
  template <typename T, typename... A>                  \
  METAL_FUNC T __metal_simd_##name(T data, A... rest) { \
    return ::metal::simd_##name(data, rest...);         \
  }
SOFTMETAL_COLLECTIVE(broadcast)
SOFTMETAL_COLLECTIVE(max)
SOFTMETAL_COLLECTIVE(min)
SOFTMETAL_COLLECTIVE(prefix_exclusive_product)
SOFTMETAL_COLLECTIVE(prefix_exclusive_sum)
SOFTMETAL_COLLECTIVE(prefix_inclusive_product)
SOFTMETAL_COLLECTIVE(prefix_inclusive_sum)
SOFTMETAL_COLLECTIVE(product)
SOFTMETAL_COLLECTIVE(shuffle)
SOFTMETAL_COLLECTIVE(shuffle_and_fill_down)
SOFTMETAL_COLLECTIVE(shuffle_and_fill_up)
SOFTMETAL_COLLECTIVE(shuffle_down)
SOFTMETAL_COLLECTIVE(shuffle_rotate_down)
SOFTMETAL_COLLECTIVE(shuffle_rotate_up)
SOFTMETAL_COLLECTIVE(shuffle_up)
SOFTMETAL_COLLECTIVE(shuffle_xor)
SOFTMETAL_COLLECTIVE(sum)
#undef SOFTMETAL_COLLECTIVE
METAL_FUNC int __metal_simd_xor(int data) { return ::metal::simd_xor(data); }
