// <metal_type_traits>, <metal_limits> and <metal_array> as declarations.
#pragma once

#include "metal_types.h"

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define HALF_MAX ((half)65504.0f)
#define HALF_MIN ((half)6.103515625e-05f)
#define M_PI_F 3.14159265f
#define M_LOG10E_F 0.434294482f
#define M_PI_4_F 0.785398163f
#define M_2_SQRTPI_F 1.12837917f
#define M_PI_2_F 1.57079633f
#define M_1_PI_F 0.318309886f
#define M_2_PI_F 0.636619772f
#define M_SQRT2_F 1.41421356f
#define M_SQRT1_2_F 0.707106781f
#define M_LN2_F 0.693147181f
#define M_LN10_F 2.30258509f
#define M_LOG2E_F 1.44269504f
#define M_E_F 2.71828183f
#define INT_MAX __INT_MAX__
#define INT_MIN (-__INT_MAX__ - 1)
#define UINT_MAX (__INT_MAX__ * 2u + 1u)

namespace metal {

template <typename T, T Value>
struct integral_constant {
  typedef T value_type;
  static constexpr T value = Value;
  constexpr operator T() const { return Value; }
};
template <bool Value>
using bool_constant = integral_constant<bool, Value>;
typedef bool_constant<true> true_type;
typedef bool_constant<false> false_type;

template <bool Condition, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool Condition, typename T = void>
using enable_if_t = typename enable_if<Condition, T>::type;

template <bool Condition, typename T, typename U>
struct conditional {
  typedef T type;
};
template <typename T, typename U>
struct conditional<false, T, U> {
  typedef U type;
};
template <bool Condition, typename T, typename U>
using conditional_t = typename conditional<Condition, T, U>::type;

template <typename T, typename U>
struct is_same : bool_constant<__is_same(T, U)> {};
template <typename T>
struct is_integral : bool_constant<__is_integral(T)> {};
template <typename T>
struct is_floating_point : bool_constant<__is_same(__remove_cv(T), float) || __is_same(__remove_cv(T), half) ||
                                         __is_same(__remove_cv(T), bfloat)> {};
template <typename T>
struct is_arithmetic : bool_constant<is_integral<T>::value || is_floating_point<T>::value> {};
template <typename T>
struct is_signed : bool_constant<__is_signed(T)> {};
template <typename T>
struct is_unsigned : bool_constant<__is_unsigned(T)> {};
template <typename T, typename U>
constexpr constant bool is_same_v = __is_same(T, U);
template <typename T>
constexpr constant bool is_integral_v = is_integral<T>::value;
template <typename T>
constexpr constant bool is_floating_point_v = is_floating_point<T>::value;
template <typename T>
constexpr constant bool is_arithmetic_v = is_arithmetic<T>::value;
template <typename T>
constexpr constant bool is_signed_v = is_signed<T>::value;
template <typename T>
constexpr constant bool is_unsigned_v = is_unsigned<T>::value;
template <typename T>
struct remove_cv {
  typedef __remove_cv(T) type;
};
template <typename T>
struct remove_reference {
  typedef __remove_reference_t(T) type;
};
template <typename T>
using remove_cv_t = __remove_cv(T);
template <typename T>
using remove_reference_t = __remove_reference_t(T);
template <typename T, typename U>
struct is_convertible : bool_constant<__is_convertible_to(T, U)> {};
template <typename T, typename U>
constexpr constant bool is_convertible_v = __is_convertible_to(T, U);
template <typename T>
struct is_const : bool_constant<__is_const(T)> {};
template <typename T>
struct is_pointer : bool_constant<__is_pointer(T)> {};
template <typename... T>
struct disjunction : false_type {};
template <typename T, typename... Rest>
struct disjunction<T, Rest...> : bool_constant<T::value || disjunction<Rest...>::value> {};
template <typename... T>
using _disjunction = disjunction<T...>;
template <typename T>
struct remove_addrspace {
  typedef T type;
};
template <typename T>
struct remove_addrspace<device T> {
  typedef T type;
};
template <typename T>
struct remove_addrspace<threadgroup T> {
  typedef T type;
};
template <typename T>
struct remove_addrspace<__attribute__((address_space(2))) T> {
  typedef T type;
};
template <typename T>
using remove_addrspace_t = typename remove_addrspace<T>::type;
template <typename T>
struct make_unsigned {
  typedef __make_unsigned(T) type;
};
template <typename T>
struct make_signed {
  typedef __make_signed(T) type;
};

// What the library's own numeric_limits is made of; candle's shaders specialise it.
template <typename T>
struct _numeric_limits_impl {
  static constexpr T max() { return T(0); }
  static constexpr T min() { return T(0); }
  static constexpr T lowest() { return T(0); }
};
template <typename T>
struct numeric_limits : _numeric_limits_impl<T> {
  static constexpr T max() { return T(0); }
  static constexpr T min() { return T(0); }
  static constexpr T lowest() { return T(0); }
  static constexpr T epsilon() { return T(0); }
  static constexpr T infinity() { return T(0); }
  static constexpr T quiet_NaN() { return T(0); }
};

template <typename T, size_t N>
struct array {
  T elements[N];
  static constexpr size_t size() { return N; }
  constexpr T& operator[](size_t i) { return elements[i]; }
  constexpr const T& operator[](size_t i) const { return elements[i]; }
};

}  // namespace metal

template <typename To, typename From>
constexpr To as_type(From value) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of the same size");
  return __builtin_bit_cast(To, value);
}
