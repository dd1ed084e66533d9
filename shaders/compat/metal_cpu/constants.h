// The constants of <metal_math> and <metal_limits>, as macros like Metal's own.
#pragma once

#undef assert
#define assert(condition) static_cast<void>(0)

#include <climits>

#include "traits.h"

#undef INFINITY
#undef NAN
#undef HUGE_VALF
#undef MAXFLOAT
#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define HUGE_VALF (__builtin_inff())
#define MAXFLOAT (3.40282346638528859812e+38f)

#undef FLT_MAX
#undef FLT_MIN
#undef FLT_EPSILON
#undef FLT_DIG
#undef FLT_MANT_DIG
#define FLT_MAX (0x1.fffffep127f)
#define FLT_MIN (0x1.0p-126f)
#define FLT_EPSILON (0x1.0p-23f)
#define FLT_DIG 6
#define FLT_MANT_DIG 24

#define HALF_MAX (::metal::numeric_limits<::metal::half>::max())
#define MAXHALF HALF_MAX
#define HALF_MIN (::metal::numeric_limits<::metal::half>::min())
#define HALF_EPSILON (::metal::numeric_limits<::metal::half>::epsilon())
#define HALF_DIG 3
#define HALF_MANT_DIG 11
#define BFLT_MAX (::metal::numeric_limits<::metal::bfloat>::max())
#define BFLT_MIN (::metal::numeric_limits<::metal::bfloat>::min())
#define BFLT_EPSILON (::metal::numeric_limits<::metal::bfloat>::epsilon())

#define M_E_F 2.71828182845904523536f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LOG10E_F 0.43429448190325182765f
#define M_LN2_F 0.69314718055994530942f
#define M_LN10_F 2.30258509299404568402f
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_PI_4_F 0.78539816339744830962f
#define M_1_PI_F 0.31830988618379067154f
#define M_2_PI_F 0.63661977236758134308f
#define M_2_SQRTPI_F 1.12837916709551257390f
#define M_SQRT2_F 1.41421356237309504880f
#define M_SQRT1_2_F 0.70710678118654752440f
#define M_PI_H (::metal::half(M_PI_F))
#define M_E_H (::metal::half(M_E_F))
#define M_LN2_H (::metal::half(M_LN2_F))
#define M_LOG2E_H (::metal::half(M_LOG2E_F))
#define M_SQRT2_H (::metal::half(M_SQRT2_F))
