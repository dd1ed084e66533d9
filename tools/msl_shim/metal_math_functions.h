// The functions of <metal_math> that exist in three namespaces: metal_functions.h includes this file in each, so it has
// no guard.
MSL_SHIM_FLOAT_1(acos);
MSL_SHIM_FLOAT_1(acosh);
MSL_SHIM_FLOAT_1(asin);
MSL_SHIM_FLOAT_1(asinh);
MSL_SHIM_FLOAT_1(atan);
MSL_SHIM_FLOAT_1(atanh);
MSL_SHIM_FLOAT_1(ceil);
MSL_SHIM_FLOAT_1(cos);
MSL_SHIM_FLOAT_1(cosh);
MSL_SHIM_FLOAT_1(cospi);
MSL_SHIM_FLOAT_1(exp);
MSL_SHIM_FLOAT_1(exp10);
MSL_SHIM_FLOAT_1(exp2);
MSL_SHIM_FLOAT_1(fabs);
MSL_SHIM_FLOAT_1(floor);
MSL_SHIM_FLOAT_1(fract);
MSL_SHIM_FLOAT_1(log);
MSL_SHIM_FLOAT_1(log10);
MSL_SHIM_FLOAT_1(log2);
MSL_SHIM_FLOAT_1(rint);
MSL_SHIM_FLOAT_1(round);
MSL_SHIM_FLOAT_1(rsqrt);
MSL_SHIM_FLOAT_1(sin);
MSL_SHIM_FLOAT_1(sinh);
MSL_SHIM_FLOAT_1(sinpi);
MSL_SHIM_FLOAT_1(sqrt);
MSL_SHIM_FLOAT_1(tan);
MSL_SHIM_FLOAT_1(tanh);
MSL_SHIM_FLOAT_1(tanpi);
MSL_SHIM_FLOAT_1(trunc);
MSL_SHIM_FLOAT_2(atan2);
MSL_SHIM_FLOAT_2(copysign);
MSL_SHIM_FLOAT_2(divide);
MSL_SHIM_FLOAT_2(fdim);
MSL_SHIM_FLOAT_2(fmax);
MSL_SHIM_FLOAT_2(fmin);
MSL_SHIM_FLOAT_2(fmod);
MSL_SHIM_FLOAT_2(nextafter);
MSL_SHIM_FLOAT_2(pow);
MSL_SHIM_FLOAT_2(powr);
template <typename T, typename = detail::if_float<T>>
T abs(T);
template <typename T, typename = detail::if_float<T>>
T sincos(T, thread T&);
template <typename T, typename = detail::if_float<T>>
T modf(T, thread T&);
template <typename T, typename I, typename = detail::if_float<T>>
T frexp(T, thread I&);
template <typename T, typename I, typename = detail::if_float<T>, typename = detail::if_integer<I>>
T ldexp(T, I);
template <typename T, typename = detail::if_float<T>>
T fma(T, T, T);
template <typename T, typename = detail::if_float<T>>
T fmax3(T, T, T);
template <typename T, typename = detail::if_float<T>>
T fmin3(T, T, T);
template <typename T, typename = detail::if_float<T>>
conditional_t<detail::vector_traits<T>::count == 1, int, vec<int, detail::vector_traits<T>::count>> ilogb(T);
template <typename T>
T max(T, T);
template <typename T>
T min(T, T);
template <typename T>
T clamp(T, T, T);
