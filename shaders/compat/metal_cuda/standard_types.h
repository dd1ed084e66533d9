// The little of the C++ library that the Metal library needs: fixed-width integers, type traits, limits. NVRTC has
// none.
#pragma once

using int8_t = signed char;
using int16_t = short;
using int32_t = int;
using int64_t = long;
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned int;
using uint64_t = unsigned long;
using uintptr_t = unsigned long;

namespace std {

using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::uintptr_t;
using size_t = decltype(sizeof(0));
using ptrdiff_t = decltype(static_cast<char*>(nullptr) - static_cast<char*>(nullptr));
using nullptr_t = decltype(nullptr);

template <typename T, T constant>
struct integral_constant {
  using value_type = T;
  using type = integral_constant;
  static constexpr T value = constant;
  constexpr operator T() const { return constant; }
  constexpr T operator()() const { return constant; }
};
template <bool constant>
using bool_constant = integral_constant<bool, constant>;
using true_type = bool_constant<true>;
using false_type = bool_constant<false>;

template <bool condition, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> {
  using type = T;
};
template <bool condition, typename A, typename B>
struct conditional {
  using type = A;
};
template <typename A, typename B>
struct conditional<false, A, B> {
  using type = B;
};

template <typename T>
struct remove_const {
  using type = T;
};
template <typename T>
struct remove_const<const T> {
  using type = T;
};
template <typename T>
struct remove_volatile {
  using type = T;
};
template <typename T>
struct remove_volatile<volatile T> {
  using type = T;
};
template <typename T>
struct remove_cv {
  using type = typename remove_volatile<typename remove_const<T>::type>::type;
};
template <typename T>
struct remove_reference {
  using type = T;
};
template <typename T>
struct remove_reference<T&> {
  using type = T;
};
template <typename T>
struct remove_reference<T&&> {
  using type = T;
};
template <typename T>
struct remove_pointer {
  using type = T;
};
template <typename T>
struct remove_pointer<T*> {
  using type = T;
};
template <typename T>
struct add_const {
  using type = const T;
};
template <typename T>
struct add_lvalue_reference {
  using type = T&;
};
template <typename T>
struct decay {
  using type = typename remove_cv<typename remove_reference<T>::type>::type;
};

template <typename A, typename B>
inline constexpr bool is_same_v = false;
template <typename T>
inline constexpr bool is_same_v<T, T> = true;
template <typename T>
inline constexpr bool is_const_v = !is_same_v<T, typename remove_const<T>::type>;
template <typename T>
inline constexpr bool is_pointer_v = !is_same_v<T, typename remove_pointer<T>::type>;
template <typename T>
inline constexpr bool is_array_v = false;
template <typename T>
inline constexpr bool is_array_v<T[]> = true;
template <typename T, size_t count>
inline constexpr bool is_array_v<T[count]> = true;

// The integer types with their unsigned and signed partners.
template <typename T>
struct IntegerPartners {
  static constexpr bool is_integer = false;
};
#define SOFTMETAL_INTEGER(T, Signed, Unsigned) \
  template <>                                  \
  struct IntegerPartners<T> {                  \
    static constexpr bool is_integer = true;   \
    using signed_type = Signed;                \
    using unsigned_type = Unsigned;            \
  };
SOFTMETAL_INTEGER(bool, bool, bool)
SOFTMETAL_INTEGER(char, signed char, unsigned char)
SOFTMETAL_INTEGER(signed char, signed char, unsigned char)
SOFTMETAL_INTEGER(unsigned char, signed char, unsigned char)
SOFTMETAL_INTEGER(short, short, unsigned short)
SOFTMETAL_INTEGER(unsigned short, short, unsigned short)
SOFTMETAL_INTEGER(int, int, unsigned int)
SOFTMETAL_INTEGER(unsigned int, int, unsigned int)
SOFTMETAL_INTEGER(long, long, unsigned long)
SOFTMETAL_INTEGER(unsigned long, long, unsigned long)
SOFTMETAL_INTEGER(long long, long long, unsigned long long)
SOFTMETAL_INTEGER(unsigned long long, long long, unsigned long long)
SOFTMETAL_INTEGER(__int128, __int128, unsigned __int128)
SOFTMETAL_INTEGER(unsigned __int128, __int128, unsigned __int128)
#undef SOFTMETAL_INTEGER

template <typename T>
inline constexpr bool is_integral_v = IntegerPartners<typename remove_cv<T>::type>::is_integer;
template <typename T>
inline constexpr bool is_floating_point_v =
    is_same_v<typename remove_cv<T>::type, float> || is_same_v<typename remove_cv<T>::type, double>;
template <typename T>
inline constexpr bool is_arithmetic_v = is_integral_v<T> || is_floating_point_v<T>;
template <typename T, bool is_number = is_arithmetic_v<T>>
inline constexpr bool is_signed_v = false;
template <typename T>
inline constexpr bool is_signed_v<T, true> = static_cast<T>(-1) < static_cast<T>(0);
template <typename T>
inline constexpr bool is_unsigned_v = is_arithmetic_v<T> && !is_signed_v<T>;
template <typename T>
inline constexpr bool is_enum_v = __is_enum(T);
template <typename T>
inline constexpr bool is_class_v = __is_class(T);
template <typename T>
inline constexpr bool is_void_v = is_same_v<typename remove_cv<T>::type, void>;
template <typename T>
inline constexpr bool is_trivially_copyable_v = __is_trivially_copyable(T);
template <typename From, typename To>
inline constexpr bool is_convertible_v = __is_convertible_to(From, To);

template <typename T>
struct make_unsigned {
  using type = typename IntegerPartners<typename remove_cv<T>::type>::unsigned_type;
};
template <typename T>
struct make_signed {
  using type = typename IntegerPartners<typename remove_cv<T>::type>::signed_type;
};
template <typename T>
struct underlying_type {
  using type = __underlying_type(T);
};

template <typename T>
T&& declval() noexcept;
template <typename... T>
struct common_type;
template <typename A>
struct common_type<A> {
  using type = typename decay<A>::type;
};
template <typename A, typename B>
struct common_type<A, B> {
  using type = typename decay<decltype(false ? declval<A>() : declval<B>())>::type;
};
template <typename A, typename B, typename... Rest>
struct common_type<A, B, Rest...> : common_type<typename common_type<A, B>::type, Rest...> {};

#define SOFTMETAL_TYPE(name) \
  template <typename T>      \
  using name##_t = typename name<T>::type;
SOFTMETAL_TYPE(remove_const)
SOFTMETAL_TYPE(remove_cv)
SOFTMETAL_TYPE(remove_reference)
SOFTMETAL_TYPE(remove_pointer)
SOFTMETAL_TYPE(decay)
SOFTMETAL_TYPE(make_unsigned)
SOFTMETAL_TYPE(make_signed)
SOFTMETAL_TYPE(underlying_type)
#undef SOFTMETAL_TYPE
template <bool condition, typename T = void>
using enable_if_t = typename enable_if<condition, T>::type;
template <bool condition, typename A, typename B>
using conditional_t = typename conditional<condition, A, B>::type;
template <typename... T>
using common_type_t = typename common_type<T...>::type;

#define SOFTMETAL_TEST(name) \
  template <typename T>      \
  struct name : bool_constant<name##_v<T>> {};
SOFTMETAL_TEST(is_array)
SOFTMETAL_TEST(is_class)
SOFTMETAL_TEST(is_const)
SOFTMETAL_TEST(is_enum)
SOFTMETAL_TEST(is_integral)
SOFTMETAL_TEST(is_pointer)
SOFTMETAL_TEST(is_trivially_copyable)
SOFTMETAL_TEST(is_unsigned)
SOFTMETAL_TEST(is_void)
#undef SOFTMETAL_TEST
template <typename A, typename B>
struct is_same : bool_constant<is_same_v<A, B>> {};
template <typename From, typename To>
struct is_convertible : bool_constant<is_convertible_v<From, To>> {};
template <typename... T>
struct conjunction : bool_constant<(T::value && ...)> {};
template <typename... T>
struct disjunction : bool_constant<(T::value || ...)> {};
template <typename T>
struct negation : bool_constant<!T::value> {};

template <typename T, T... values>
struct integer_sequence {
  static constexpr size_t size() { return sizeof...(values); }
};
template <size_t... values>
using index_sequence = integer_sequence<size_t, values...>;
template <typename T, int remaining, T... values>
struct SequenceFrom : SequenceFrom<T, remaining - 1, static_cast<T>(remaining - 1), values...> {};
template <typename T, T... values>
struct SequenceFrom<T, 0, values...> {
  using type = integer_sequence<T, values...>;
};
template <typename T, T count>
using make_integer_sequence = typename SequenceFrom<T, static_cast<int>(count)>::type;
template <size_t count>
using make_index_sequence = make_integer_sequence<size_t, count>;

template <typename T>
struct numeric_limits {
  static constexpr bool is_specialized = is_integral_v<T>, is_signed = is_signed_v<T>, is_integer = is_specialized;
  static constexpr bool is_exact = is_specialized, has_infinity = false, has_quiet_NaN = false, is_iec559 = false;
  static constexpr int radix = 2, digits = static_cast<int>(sizeof(T)) * 8 - (is_signed ? 1 : 0);
  static constexpr T max() {
    if constexpr (is_same_v<T, bool>) {
      return true;
    } else {
      return static_cast<T>(static_cast<make_unsigned_t<T>>(~make_unsigned_t<T>(0)) >> (is_signed ? 1 : 0));
    }
  }
  static constexpr T min() { return is_signed ? static_cast<T>(-max() - 1) : T(0); }
  static constexpr T lowest() { return min(); }
};
template <>
struct numeric_limits<float> {
  static constexpr bool is_specialized = true, is_signed = true, is_integer = false, is_exact = false;
  static constexpr bool has_infinity = true, has_quiet_NaN = true, is_iec559 = true;
  static constexpr int digits = 24, radix = 2, digits10 = 6, max_exponent = 128, min_exponent = -125;
  static constexpr float max() { return 0x1.fffffep127f; }
  static constexpr float lowest() { return -max(); }
  static constexpr float min() { return 0x1.0p-126f; }
  static constexpr float denorm_min() { return __builtin_bit_cast(float, 1u); }
  static constexpr float epsilon() { return 0x1.0p-23f; }
  static constexpr float infinity() { return __builtin_bit_cast(float, 0x7F800000u); }
  static constexpr float quiet_NaN() { return __builtin_bit_cast(float, 0x7FC00000u); }
  static constexpr float signaling_NaN() { return __builtin_bit_cast(float, 0x7FA00000u); }
};

}  // namespace std

#define SCHAR_MAX 127
#define SCHAR_MIN (-128)
#define UCHAR_MAX 255
#define CHAR_MAX SCHAR_MAX
#define CHAR_MIN SCHAR_MIN
#define CHAR_BIT 8
#define SHRT_MAX 32767
#define SHRT_MIN (-32768)
#define USHRT_MAX 65535
#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)
#define UINT_MAX 4294967295u
#define LONG_MAX 9223372036854775807l
#define LONG_MIN (-LONG_MAX - 1l)
#define ULONG_MAX 18446744073709551615ul
