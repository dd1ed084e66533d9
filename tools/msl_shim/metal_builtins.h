// Names of Apple's compiler that its library is made of, as declarations. Shaders that extend the library to bfloat
// call them, MLX's for one.
#pragma once

#include "metal_parallel.h"

#define __METAL_MAYBE_FAST_MATH__ 0
#define __METAL_FAST_MATH__ 1
#define __METAL_PRECISE_MATH__ 0

#define MSL_SHIM_BUILTIN_1(name) float __metal_##name(float, int = 0)
MSL_SHIM_BUILTIN_1(acos);
MSL_SHIM_BUILTIN_1(acosh);
MSL_SHIM_BUILTIN_1(asin);
MSL_SHIM_BUILTIN_1(asinh);
MSL_SHIM_BUILTIN_1(atan);
MSL_SHIM_BUILTIN_1(atanh);
MSL_SHIM_BUILTIN_1(ceil);
MSL_SHIM_BUILTIN_1(cos);
MSL_SHIM_BUILTIN_1(cosh);
MSL_SHIM_BUILTIN_1(cospi);
MSL_SHIM_BUILTIN_1(exp);
MSL_SHIM_BUILTIN_1(exp10);
MSL_SHIM_BUILTIN_1(exp2);
MSL_SHIM_BUILTIN_1(fabs);
MSL_SHIM_BUILTIN_1(floor);
MSL_SHIM_BUILTIN_1(fract);
MSL_SHIM_BUILTIN_1(log);
MSL_SHIM_BUILTIN_1(log10);
MSL_SHIM_BUILTIN_1(log2);
MSL_SHIM_BUILTIN_1(rint);
MSL_SHIM_BUILTIN_1(round);
MSL_SHIM_BUILTIN_1(rsqrt);
MSL_SHIM_BUILTIN_1(sin);
MSL_SHIM_BUILTIN_1(sinh);
MSL_SHIM_BUILTIN_1(sinpi);
MSL_SHIM_BUILTIN_1(sqrt);
MSL_SHIM_BUILTIN_1(tan);
MSL_SHIM_BUILTIN_1(tanh);
MSL_SHIM_BUILTIN_1(tanpi);
MSL_SHIM_BUILTIN_1(trunc);

#define MSL_SHIM_BUILTIN_2(name) float __metal_##name(float, float, int = 0)
MSL_SHIM_BUILTIN_2(atan2);
MSL_SHIM_BUILTIN_2(divide);
MSL_SHIM_BUILTIN_2(fmax);
MSL_SHIM_BUILTIN_2(fmin);
MSL_SHIM_BUILTIN_2(fmod);
MSL_SHIM_BUILTIN_2(nextafter);
MSL_SHIM_BUILTIN_2(pow);
MSL_SHIM_BUILTIN_2(powr);

#define MSL_SHIM_BUILTIN_3(name) float __metal_##name(float, float, float, int = 0)
MSL_SHIM_BUILTIN_3(fma);
MSL_SHIM_BUILTIN_3(fmax3);
MSL_SHIM_BUILTIN_3(fmedian3);
MSL_SHIM_BUILTIN_3(fmin3);
float __metal_frexp(float, thread int*);
float __metal_ldexp(float, int, int = 0);

ushort __metal_get_simdgroup_size(ushort);

#define MSL_SHIM_BUILTIN_GROUP(name)   \
  template <typename T, typename... A> \
  T __metal_simd_##name(T, A...)
MSL_SHIM_BUILTIN_GROUP(broadcast);
MSL_SHIM_BUILTIN_GROUP(max);
MSL_SHIM_BUILTIN_GROUP(min);
MSL_SHIM_BUILTIN_GROUP(prefix_exclusive_product);
MSL_SHIM_BUILTIN_GROUP(prefix_exclusive_sum);
MSL_SHIM_BUILTIN_GROUP(prefix_inclusive_product);
MSL_SHIM_BUILTIN_GROUP(prefix_inclusive_sum);
MSL_SHIM_BUILTIN_GROUP(product);
MSL_SHIM_BUILTIN_GROUP(shuffle);
MSL_SHIM_BUILTIN_GROUP(shuffle_and_fill_down);
MSL_SHIM_BUILTIN_GROUP(shuffle_and_fill_up);
MSL_SHIM_BUILTIN_GROUP(shuffle_down);
MSL_SHIM_BUILTIN_GROUP(shuffle_rotate_down);
MSL_SHIM_BUILTIN_GROUP(shuffle_rotate_up);
MSL_SHIM_BUILTIN_GROUP(shuffle_up);
MSL_SHIM_BUILTIN_GROUP(shuffle_xor);
MSL_SHIM_BUILTIN_GROUP(sum);
MSL_SHIM_BUILTIN_GROUP(xor);
