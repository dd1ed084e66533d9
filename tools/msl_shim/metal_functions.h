// <metal_math>, <metal_integer>, <metal_common>, <metal_geometric> and <metal_relational> as declarations.
//
// A function of two arguments takes them of one type: Metal's overloads are ambiguous for mixed ones. Those that exist
// for floating point only take an integer beside a scalar, as the scalar alone then chooses the overload.
#pragma once

#include "metal_traits.h"

namespace metal {
namespace detail {
template <typename T>
using element = typename vector_traits<T>::element;
template <typename T>
using if_float = enable_if_t<is_floating_point<element<T>>::value>;
template <typename T>
using if_integer = enable_if_t<is_integral<element<T>>::value>;
template <typename T>
using if_scalar_float = enable_if_t<is_floating_point<T>::value>;
template <typename T>
using if_scalar_integer = enable_if_t<is_integral<T>::value>;
template <typename T>
using if_vector = enable_if_t<(vector_traits<T>::count > 1)>;
}  // namespace detail

#define MSL_SHIM_FLOAT_1(name)                          \
  template <typename T, typename = detail::if_float<T>> \
  T name(T)
#define MSL_SHIM_FLOAT_2(name)                                                                                      \
  template <typename T, typename = detail::if_float<T>>                                                             \
  T name(T, T);                                                                                                     \
  template <typename T, typename I, typename = detail::if_scalar_float<T>, typename = detail::if_scalar_integer<I>> \
  T name(T, I);                                                                                                     \
  template <typename I, typename T, typename = detail::if_scalar_float<T>, typename = detail::if_scalar_integer<I>, \
            typename = void>                                                                                        \
  T name(I, T)

// metal, metal::precise and metal::fast declare the same functions.
#include "metal_math_functions.h"
namespace precise {
#include "metal_math_functions.h"
}
namespace fast {
#include "metal_math_functions.h"
}

MSL_SHIM_FLOAT_1(saturate);
MSL_SHIM_FLOAT_1(sign);
MSL_SHIM_FLOAT_2(step);
template <typename T, typename = detail::if_float<T>>
T smoothstep(T, T, T);
template <typename T, typename = detail::if_float<T>>
T mix(T, T, T);
template <typename T, typename = detail::if_float<T>, typename = detail::if_vector<T>>
T mix(T, T, detail::element<T>);
template <typename T>
T max3(T, T, T);
template <typename T>
T min3(T, T, T);
template <typename T>
T median3(T, T, T);
template <typename T, typename = detail::if_vector<T>>
T max(T, detail::element<T>);
template <typename T, typename = detail::if_vector<T>>
T min(T, detail::element<T>);
template <typename T, typename = detail::if_vector<T>>
T clamp(T, detail::element<T>, detail::element<T>);

#define MSL_SHIM_INTEGER_1(name)                          \
  template <typename T, typename = detail::if_integer<T>> \
  T name(T)
#define MSL_SHIM_INTEGER_2(name)                          \
  template <typename T, typename = detail::if_integer<T>> \
  T name(T, T)
#define MSL_SHIM_INTEGER_3(name)                          \
  template <typename T, typename = detail::if_integer<T>> \
  T name(T, T, T)
template <typename T, typename = detail::if_integer<T>, typename = void>
T abs(T);
MSL_SHIM_INTEGER_1(clz);
MSL_SHIM_INTEGER_1(ctz);
MSL_SHIM_INTEGER_1(popcount);
MSL_SHIM_INTEGER_1(reverse_bits);
MSL_SHIM_INTEGER_2(absdiff);
MSL_SHIM_INTEGER_2(addsat);
MSL_SHIM_INTEGER_2(subsat);
MSL_SHIM_INTEGER_2(hadd);
MSL_SHIM_INTEGER_2(rhadd);
MSL_SHIM_INTEGER_2(mulhi);
MSL_SHIM_INTEGER_2(mul24);
MSL_SHIM_INTEGER_2(rotate);
MSL_SHIM_INTEGER_3(mad24);
MSL_SHIM_INTEGER_3(madhi);
MSL_SHIM_INTEGER_3(madsat);
template <typename T, typename = detail::if_integer<T>>
T extract_bits(T, uint, uint);
template <typename T, typename = detail::if_integer<T>>
T insert_bits(T, T, uint, uint);

template <typename T, typename Condition>
T select(T, T, Condition);
template <typename T>
bool all(T);
template <typename T>
bool any(T);
#define MSL_SHIM_PREDICATE(name)                        \
  template <typename T, typename = detail::if_float<T>> \
  conditional_t<detail::vector_traits<T>::count == 1, bool, vec<int, detail::vector_traits<T>::count>> name(T)
MSL_SHIM_PREDICATE(isfinite);
MSL_SHIM_PREDICATE(isinf);
MSL_SHIM_PREDICATE(isnan);
MSL_SHIM_PREDICATE(isnormal);
MSL_SHIM_PREDICATE(signbit);

template <typename T, typename = detail::if_float<T>>
detail::element<T> dot(T, T);
template <typename T, typename = detail::if_float<T>>
detail::element<T> length(T);
template <typename T, typename = detail::if_float<T>>
detail::element<T> length_squared(T);
template <typename T, typename = detail::if_float<T>>
detail::element<T> distance(T, T);
template <typename T, typename = detail::if_float<T>>
detail::element<T> distance_squared(T, T);
MSL_SHIM_FLOAT_1(normalize);
MSL_SHIM_FLOAT_2(cross);
MSL_SHIM_FLOAT_2(reflect);

float4 unpack_unorm4x8_to_float(uint);
float4 unpack_snorm4x8_to_float(uint);
uint pack_float_to_unorm4x8(float4);
uint pack_float_to_snorm4x8(float4);
bool is_function_constant_defined_value(...);
#define is_function_constant_defined(name) metal::is_function_constant_defined_value(&name)

}  // namespace metal
