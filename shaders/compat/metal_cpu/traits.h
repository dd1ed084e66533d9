// <metal_type_traits>, <metal_limits>, <metal_array> and <metal_numeric>.
#pragma once

#include <limits>
#include <type_traits>
#include <utility>

#include "vector.h"

namespace metal {

using std::add_const;
using std::add_lvalue_reference;
using std::bool_constant;
using std::common_type;
using std::common_type_t;
using std::conditional;
using std::conditional_t;
using std::conjunction;
using std::decay;
using std::decay_t;
using std::declval;
using std::disjunction;
using std::enable_if;
using std::enable_if_t;
using std::false_type;
using std::index_sequence;
using std::integer_sequence;
using std::integral_constant;
using std::is_array;
using std::is_class;
using std::is_const;
using std::is_convertible;
using std::is_convertible_v;
using std::is_enum;
using std::is_integral;
using std::is_integral_v;
using std::is_pointer;
using std::is_pointer_v;
using std::is_same;
using std::is_same_v;
using std::is_trivially_copyable;
using std::is_unsigned;
using std::is_unsigned_v;
using std::is_void;
using std::make_index_sequence;
using std::make_integer_sequence;
using std::make_signed;
using std::make_signed_t;
using std::make_unsigned;
using std::make_unsigned_t;
using std::negation;
using std::remove_const;
using std::remove_const_t;
using std::remove_cv;
using std::remove_cv_t;
using std::remove_pointer;
using std::remove_pointer_t;
using std::remove_reference;
using std::remove_reference_t;
using std::true_type;
using std::underlying_type;
using std::underlying_type_t;

// Address spaces have gone before a C++ compiler sees a type.
template <typename T>
using remove_addrspace_t = T;

// All lanes of a simdgroup hold the same value; here a plain one.
template <typename T>
using uniform = T;
template <typename T>
METAL_FUNC constexpr T make_uniform(T value) {
  return value;
}

template <typename T>
struct is_floating_point : bool_constant<std::is_floating_point_v<T> || cpu::is_small_float<std::remove_cv_t<T>>> {};
template <typename T>
constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <typename T>
struct is_arithmetic : bool_constant<is_integral_v<T> || is_floating_point<T>::value> {};
template <typename T>
constexpr bool is_arithmetic_v = is_arithmetic<T>::value;
template <typename T>
struct is_signed : bool_constant<std::is_signed_v<T> || is_floating_point<T>::value> {};
template <typename T>
constexpr bool is_signed_v = is_signed<T>::value;
template <typename T>
struct is_vector : bool_constant<cpu::is_vector<std::remove_cv_t<T>>> {};
template <typename T>
constexpr bool is_vector_v = is_vector<T>::value;
template <typename T>
struct is_scalar : bool_constant<cpu::is_scalar<std::remove_cv_t<T>>> {};
template <typename T>
struct make_scalar {
  using type = cpu::element<T>;
};
template <typename T>
using make_scalar_t = typename make_scalar<T>::type;
template <typename T>
struct vec_elements : integral_constant<int, cpu::components<T>> {};

// Apple's library keeps the limits here; shaders specialise it for types of their own.
template <typename T, typename = void>
struct _numeric_limits_impl : std::numeric_limits<T> {};
template <typename T>
struct numeric_limits : _numeric_limits_impl<T> {};

template <typename... T>
using _disjunction = std::disjunction<T...>;

// What simdgroup functions take.
template <typename T>
struct __is_valid_simdgroup_type : std::bool_constant<cpu::is_scalar<T> && sizeof(T) <= 4> {};

namespace cpu {

// Limits of a 16-bit float by the bit patterns of its extreme values.
template <typename T, int mantissa_digits, int largest_exponent, int decimal_digits, std::uint16_t max_bits,
          std::uint16_t min_bits, std::uint16_t infinity_bits, std::uint16_t epsilon_bits>
struct SmallLimits {
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true, is_iec559 = true;
  static constexpr int digits = mantissa_digits, radix = 2, digits10 = decimal_digits;
  static constexpr int max_exponent = largest_exponent, min_exponent = 3 - largest_exponent;

  static constexpr T from(std::uint16_t bits) { return as_type<T>(bits); }
  static constexpr T max() { return from(max_bits); }
  static constexpr T lowest() { return from(static_cast<std::uint16_t>(max_bits | 0x8000u)); }
  static constexpr T min() { return from(min_bits); }
  static constexpr T denorm_min() { return from(1); }
  static constexpr T epsilon() { return from(epsilon_bits); }
  static constexpr T infinity() { return from(infinity_bits); }
  static constexpr T quiet_NaN() { return from(0x7FFF); }
  static constexpr T signaling_NaN() { return from(static_cast<std::uint16_t>(infinity_bits | 1u)); }
};

}  // namespace cpu

template <>
struct numeric_limits<half> : cpu::SmallLimits<half, 11, 16, 3, 0x7BFF, 0x0400, 0x7C00, 0x1400> {};
template <>
struct numeric_limits<bfloat> : cpu::SmallLimits<bfloat, 8, 128, 2, 0x7F7F, 0x0080, 0x7F80, 0x3C00> {};

template <typename T, std::size_t N>
struct array {
  T items[N];

  constexpr T& operator[](std::size_t index) { return items[index]; }
  constexpr const T& operator[](std::size_t index) const { return items[index]; }
  constexpr T* data() { return items; }
  constexpr const T* data() const { return items; }
  constexpr T* begin() { return items; }
  constexpr T* end() { return items + N; }
  constexpr const T* begin() const { return items; }
  constexpr const T* end() const { return items + N; }
  static constexpr std::size_t size() { return N; }
  static constexpr bool empty() { return N == 0; }
};

}  // namespace metal
