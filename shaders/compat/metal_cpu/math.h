// <metal_math>, <metal_common> and <metal_relational>: for float, half, bfloat and vectors of them.
//
// The 16-bit types are computed in float32 and rounded once. precise:: and fast:: are the same functions.
#pragma once

#include "vector.h"

namespace metal {

namespace cpu {

// The type in which mixed arguments of min, max, clamp, ... meet: the vector's if one is a vector.
template <typename A, typename B, typename = void>
struct Meet {
  using type = common<A, B>;
};
template <typename A, typename B>
struct Meet<A, B, std::enable_if_t<is_vector<A> || is_vector<B>>> {
  static_assert(VectorResult<A, B>::valid, "vectors of different types");
  using type = result_vector<A, B>;
};
template <typename A, typename B>
using met = typename Meet<A, B>::type;

template <typename V>
inline constexpr bool is_value = is_scalar<V> || is_vector<V>;

template <typename V>
inline constexpr bool is_small_value = is_small_float<element<V>>;

// Applies a scalar function of element type R to each component of V.
template <typename R, typename V, typename F, typename... Rest>
METAL_FUNC constexpr auto each(F function, const V& first, const Rest&... rest) {
  if constexpr (is_vector<V>) {
    return map<R, components<V>>(function, first, rest...);
  } else {
    return static_cast<R>(function(first, rest...));
  }
}

template <typename V>
using enable_if_float_vector_or_small = std::enable_if_t<is_vector<V> || is_small_float<V>, int>;

METAL_FUNC float exp10(float x) { return __builtin_exp2f(x * 3.32192809488736234787f); }
METAL_FUNC float sign(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x == x ? x : 0.0f; }
METAL_FUNC float saturate(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
METAL_FUNC float fract(float x) {
  const float value = x - __builtin_floorf(x);
  return value < 0x1.fffffep-1f ? value : 0x1.fffffep-1f;
}
METAL_FUNC float pi_times(float x) { return x * 3.14159265358979323846f; }

}  // namespace cpu

// A function of one float, and its forms for the 16-bit types and vectors.
#define SOFTMETAL_UNARY(name, expression)                                                     \
  METAL_FUNC float name(float x) { return expression; }                                       \
  template <typename V, cpu::enable_if_float_vector_or_small<V> = 0>                          \
  METAL_FUNC auto name(const V& v) {                                                          \
    return cpu::each<cpu::element<V>>([](auto c) { return name(static_cast<float>(c)); }, v); \
  }
SOFTMETAL_UNARY(acos, __builtin_acosf(x))
SOFTMETAL_UNARY(acosh, __builtin_acoshf(x))
SOFTMETAL_UNARY(asin, __builtin_asinf(x))
SOFTMETAL_UNARY(asinh, __builtin_asinhf(x))
SOFTMETAL_UNARY(atan, __builtin_atanf(x))
SOFTMETAL_UNARY(atanh, __builtin_atanhf(x))
SOFTMETAL_UNARY(ceil, __builtin_ceilf(x))
SOFTMETAL_UNARY(cos, __builtin_cosf(x))
SOFTMETAL_UNARY(cosh, __builtin_coshf(x))
SOFTMETAL_UNARY(cospi, __builtin_cosf(cpu::pi_times(x)))
SOFTMETAL_UNARY(exp, __builtin_expf(x))
SOFTMETAL_UNARY(exp2, __builtin_exp2f(x))
SOFTMETAL_UNARY(exp10, cpu::exp10(x))
SOFTMETAL_UNARY(fabs, __builtin_fabsf(x))
SOFTMETAL_UNARY(floor, __builtin_floorf(x))
SOFTMETAL_UNARY(fract, cpu::fract(x))
SOFTMETAL_UNARY(log, __builtin_logf(x))
SOFTMETAL_UNARY(log2, __builtin_log2f(x))
SOFTMETAL_UNARY(log10, __builtin_log10f(x))
SOFTMETAL_UNARY(rint, __builtin_rintf(x))
SOFTMETAL_UNARY(round, __builtin_roundf(x))
SOFTMETAL_UNARY(rsqrt, 1.0f / __builtin_sqrtf(x))
SOFTMETAL_UNARY(saturate, cpu::saturate(x))
SOFTMETAL_UNARY(sign, cpu::sign(x))
SOFTMETAL_UNARY(sin, __builtin_sinf(x))
SOFTMETAL_UNARY(sinh, __builtin_sinhf(x))
SOFTMETAL_UNARY(sinpi, __builtin_sinf(cpu::pi_times(x)))
SOFTMETAL_UNARY(sqrt, __builtin_sqrtf(x))
SOFTMETAL_UNARY(tan, __builtin_tanf(x))
SOFTMETAL_UNARY(tanh, __builtin_tanhf(x))
SOFTMETAL_UNARY(tanpi, __builtin_tanf(cpu::pi_times(x)))
SOFTMETAL_UNARY(trunc, __builtin_truncf(x))
#undef SOFTMETAL_UNARY

// A function of two floats.
#define SOFTMETAL_BINARY(name, expression)                                                                            \
  METAL_FUNC float name(float x, float y) { return expression; }                                                      \
  template <typename A, typename B,                                                                                   \
            std::enable_if_t<                                                                                         \
                cpu::is_vector<A> || cpu::is_vector<B> || cpu::is_small_float<A> || cpu::is_small_float<B>, int> = 0> \
  METAL_FUNC cpu::met<A, B> name(const A& a, const B& b) {                                                            \
    using V = cpu::met<A, B>;                                                                                         \
    return cpu::each<cpu::element<V>>(                                                                                \
        [](auto l, auto r) { return name(static_cast<float>(l), static_cast<float>(r)); }, V(a), V(b));               \
  }
SOFTMETAL_BINARY(atan2, __builtin_atan2f(x, y))
SOFTMETAL_BINARY(copysign, __builtin_copysignf(x, y))
SOFTMETAL_BINARY(divide, x / y)
SOFTMETAL_BINARY(fdim, __builtin_fdimf(x, y))
SOFTMETAL_BINARY(fmax, __builtin_fmaxf(x, y))
SOFTMETAL_BINARY(fmin, __builtin_fminf(x, y))
SOFTMETAL_BINARY(fmod, __builtin_fmodf(x, y))
SOFTMETAL_BINARY(nextafter, __builtin_nextafterf(x, y))
SOFTMETAL_BINARY(pow, __builtin_powf(x, y))
SOFTMETAL_BINARY(powr, __builtin_powf(x, y))
SOFTMETAL_BINARY(step, y < x ? 0.0f : 1.0f)
#undef SOFTMETAL_BINARY

METAL_FUNC float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
template <typename V, cpu::enable_if_float_vector_or_small<V> = 0>
METAL_FUNC V fma(const V& a, const V& b, const V& c) {
  return cpu::each<cpu::element<V>>(
      [](auto x, auto y, auto z) {
        return __builtin_fmaf(static_cast<float>(x), static_cast<float>(y), static_cast<float>(z));
      },
      a, b, c);
}

METAL_FUNC float ldexp(float x, int exponent) { return __builtin_ldexpf(x, exponent); }
template <typename Format>
METAL_FUNC cpu::SmallFloat<Format> ldexp(cpu::SmallFloat<Format> x, int exponent) {
  return __builtin_ldexpf(float(x), exponent);
}
template <typename T, int N>
METAL_FUNC vec<T, N> ldexp(const vec<T, N>& x, const vec<int, N>& exponent) {
  return cpu::map<T, N>([](auto l, auto r) { return ldexp(l, r); }, x, exponent);
}
METAL_FUNC int ilogb(float x) { return __builtin_ilogbf(x); }
METAL_FUNC float frexp(float x, int& exponent) { return __builtin_frexpf(x, &exponent); }
METAL_FUNC float modf(float x, float& whole) { return __builtin_modff(x, &whole); }
METAL_FUNC float sincos(float x, float& cosine) {
  cosine = __builtin_cosf(x);
  return __builtin_sinf(x);
}
template <typename V, cpu::enable_if_float_vector_or_small<V> = 0>
METAL_FUNC V sincos(const V& x, V& cosine) {
  cosine = cos(x);
  return sin(x);
}

// min, max, clamp: for integers as well; of mixed arguments in their common type.
template <typename A, typename B, std::enable_if_t<cpu::is_value<A> && cpu::is_value<B>, int> = 0>
METAL_FUNC constexpr cpu::met<A, B> min(const A& a, const B& b) {
  using V = cpu::met<A, B>;
  return cpu::each<cpu::element<V>>([](auto x, auto y) { return y < x ? y : x; }, V(a), V(b));
}
template <typename A, typename B, std::enable_if_t<cpu::is_value<A> && cpu::is_value<B>, int> = 0>
METAL_FUNC constexpr cpu::met<A, B> max(const A& a, const B& b) {
  using V = cpu::met<A, B>;
  return cpu::each<cpu::element<V>>([](auto x, auto y) { return x < y ? y : x; }, V(a), V(b));
}
template <typename A, typename B, typename C>
METAL_FUNC constexpr auto min3(const A& a, const B& b, const C& c) {
  return min(min(a, b), c);
}
template <typename A, typename B, typename C>
METAL_FUNC constexpr auto max3(const A& a, const B& b, const C& c) {
  return max(max(a, b), c);
}
template <typename A>
METAL_FUNC constexpr A median3(const A& a, const A& b, const A& c) {
  return max(min(a, b), min(max(a, b), c));
}
template <typename A>
METAL_FUNC constexpr A fmin3(const A& a, const A& b, const A& c) {
  return fmin(fmin(a, b), c);
}
template <typename A>
METAL_FUNC constexpr A fmax3(const A& a, const A& b, const A& c) {
  return fmax(fmax(a, b), c);
}
template <typename A, typename B, typename C>
METAL_FUNC constexpr auto clamp(const A& value, const B& low, const C& high) {
  return min(max(value, low), high);
}
template <typename A, typename B, typename C>
METAL_FUNC constexpr auto mix(const A& a, const B& b, const C& t) {
  return a + (b - a) * t;
}
template <typename A, typename B, typename V>
METAL_FUNC auto smoothstep(const A& low, const B& high, const V& value) {
  const auto t = saturate((value - low) / (high - low));
  return t * t * (3.0f - 2.0f * t);
}

// select(a, b, c) = c ? b : a, by component.
template <typename V, typename C, std::enable_if_t<cpu::is_value<V>, int> = 0>
METAL_FUNC constexpr V select(const V& a, const V& b, const C& condition) {
  return cpu::each<cpu::element<V>>([](auto x, auto y, auto c) { return c ? y : x; }, a, b, condition);
}
template <typename A, typename B,
          std::enable_if_t<cpu::is_scalar<A> && cpu::is_scalar<B> && !std::is_same_v<A, B>, int> = 0>
METAL_FUNC constexpr cpu::common<A, B> select(A a, B b, bool condition) {
  return condition ? cpu::common<A, B>(b) : cpu::common<A, B>(a);
}

template <typename V, std::enable_if_t<cpu::is_value<V>, int> = 0>
METAL_FUNC constexpr V abs(const V& value) {
  using T = cpu::element<V>;
  if constexpr (std::is_same_v<T, float> || cpu::is_small_float<T>) {
    return fabs(value);
  } else {
    return cpu::each<T>([](auto x) { return x < T(0) ? static_cast<T>(-x) : x; }, value);
  }
}

#define SOFTMETAL_TEST(name, expression)                                           \
  METAL_FUNC bool name(float x) { return expression; }                             \
  template <typename V, cpu::enable_if_float_vector_or_small<V> = 0>               \
  METAL_FUNC auto name(const V& v) {                                               \
    return cpu::each<bool>([](auto c) { return name(static_cast<float>(c)); }, v); \
  }
SOFTMETAL_TEST(isfinite, (as_type<uint>(x) & 0x7F800000u) != 0x7F800000u)
SOFTMETAL_TEST(isinf, (as_type<uint>(x) & 0x7FFFFFFFu) == 0x7F800000u)
SOFTMETAL_TEST(isnan, (as_type<uint>(x) & 0x7FFFFFFFu) > 0x7F800000u)
SOFTMETAL_TEST(isnormal, (as_type<uint>(x) & 0x7F800000u) - 0x00800000u < 0x7F000000u)
SOFTMETAL_TEST(signbit, (as_type<uint>(x) >> 31) != 0)
#undef SOFTMETAL_TEST

METAL_FUNC constexpr bool any(bool value) { return value; }
METAL_FUNC constexpr bool all(bool value) { return value; }
template <int N>
METAL_FUNC constexpr bool any(const vec<bool, N>& v) {
  bool result = v.x || v.y;
  if constexpr (N > 2) result = result || v.z;
  if constexpr (N > 3) result = result || v.w;
  return result;
}
template <int N>
METAL_FUNC constexpr bool all(const vec<bool, N>& v) {
  bool result = v.x && v.y;
  if constexpr (N > 2) result = result && v.z;
  if constexpr (N > 3) result = result && v.w;
  return result;
}

#define SOFTMETAL_EXPORT_MATH                                                                                        \
  using metal::abs, metal::acos, metal::acosh, metal::asin, metal::asinh, metal::atan, metal::atan2, metal::atanh;   \
  using metal::ceil, metal::clamp, metal::copysign, metal::cos, metal::cosh, metal::cospi, metal::exp, metal::exp10; \
  using metal::divide, metal::fmax3, metal::fmin3, metal::max3, metal::min3, metal::median3;                         \
  using metal::exp2, metal::fabs, metal::fdim, metal::floor, metal::fma, metal::fmax, metal::fmin, metal::fmod;      \
  using metal::fract, metal::frexp, metal::ldexp, metal::log, metal::log10, metal::log2, metal::max, metal::min;     \
  using metal::mix, metal::modf, metal::pow, metal::powr, metal::rint, metal::round, metal::rsqrt, metal::saturate;  \
  using metal::sign, metal::sin, metal::sincos, metal::sinh, metal::sinpi, metal::sqrt, metal::step, metal::tan;     \
  using metal::tanh, metal::tanpi, metal::trunc, metal::smoothstep, metal::isnan, metal::isinf, metal::isfinite;
namespace precise {
SOFTMETAL_EXPORT_MATH
}  // namespace precise
namespace fast {
SOFTMETAL_EXPORT_MATH
}  // namespace fast
#undef SOFTMETAL_EXPORT_MATH

template <typename To, typename From>
METAL_FUNC constexpr To convert(From value) {
  return static_cast<To>(value);
}

}  // namespace metal
