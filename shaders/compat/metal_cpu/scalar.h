// MSL's scalar types. half and bfloat are 16-bit storage; every operation is done in float32 and rounded to nearest
// even.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if defined(__F16C__)
#include <immintrin.h>
#endif

#define METAL_FUNC inline __attribute__((always_inline))

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

static_assert(static_cast<char>(-1) < 0, "MSL's char is signed: compile with -fsigned-char");

namespace metal {

using ::uchar;
using ::uint;
using ::ulong;
using ::ushort;
using std::int16_t;
using std::int32_t;
using std::int64_t;
using std::int8_t;
using std::ptrdiff_t;
using std::size_t;
using std::uint16_t;
using std::uint32_t;
using std::uint64_t;
using std::uint8_t;

template <typename To, typename From>
METAL_FUNC constexpr To as_type(From value) {
  static_assert(sizeof(To) == sizeof(From), "as_type needs types of one size");
  return __builtin_bit_cast(To, value);
}

namespace cpu {

struct HalfFormat {
  static constexpr float decode_portable(std::uint16_t bits) {
    const std::uint32_t magnitude = bits & 0x7FFFu;
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    if (magnitude >= 0x7C00u) return as_type<float>(sign | 0x7F800000u | (magnitude & 0x3FFu) << 13);
    // Exact for subnormals too: the exponent's offset is a multiplication by 2^112.
    const float scaled = as_type<float>(magnitude << 13) * 0x1p112f;
    return as_type<float>(as_type<std::uint32_t>(scaled) | sign);
  }

  static constexpr std::uint16_t encode_portable(float value) {
    const std::uint32_t bits = as_type<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    std::uint32_t magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | (magnitude >> 13 & 0x3FFu));
    if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);
    if (magnitude < 0x38800000u) {
      // Adding 0.5 leaves the subnormal's digits, rounded to even, in the low bits of the sum.
      const float shifted = as_type<float>(magnitude) + 0.5f;
      return static_cast<std::uint16_t>(sign | (as_type<std::uint32_t>(shifted) - 0x3F000000u));
    }
    magnitude += 0xFFFu + (magnitude >> 13 & 1u) - (112u << 23);
    return static_cast<std::uint16_t>(sign | magnitude >> 13);
  }

  METAL_FUNC static constexpr float decode(std::uint16_t bits) {
#if defined(__F16C__)
    if (!__builtin_is_constant_evaluated()) return _cvtsh_ss(bits);
#elif defined(__CUDACC__)
    if (!__builtin_is_constant_evaluated()) return half_to_float(bits);
#endif
    return decode_portable(bits);
  }

  METAL_FUNC static constexpr std::uint16_t encode(float value) {
#if defined(__F16C__)
    if (!__builtin_is_constant_evaluated()) {
      return static_cast<std::uint16_t>(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(value), 0), 0));
    }
#elif defined(__CUDACC__)
    if (!__builtin_is_constant_evaluated()) return float_to_half(value);
#endif
    return encode_portable(value);
  }
};

struct BfloatFormat {
  METAL_FUNC static constexpr float decode(std::uint16_t bits) {
    return as_type<float>(static_cast<std::uint32_t>(bits) << 16);
  }

  METAL_FUNC static constexpr std::uint16_t encode(float value) {
#if defined(__CUDACC__) && __CUDA_ARCH__ >= 800
    if (!__builtin_is_constant_evaluated()) return float_to_bfloat(value);
#endif
    const std::uint32_t bits = as_type<std::uint32_t>(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
    return static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
  }
};

template <typename Format>
struct PlainSmallFloat;

// A 16-bit float. It converts to float by itself, and from there to what a float converts to.
template <typename Format>
struct SmallFloat {
  std::uint16_t bits;

  SmallFloat() = default;
  METAL_FUNC constexpr SmallFloat(float value) : bits(Format::encode(value)) {}
  template <typename T, std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, float>, int> = 0>
  METAL_FUNC constexpr SmallFloat(T value) : bits(Format::encode(static_cast<float>(value))) {}

  METAL_FUNC constexpr SmallFloat(PlainSmallFloat<Format> value) : bits(value.bits) {}

  // A struct of the shader's own that converts to a number.
  template <typename T, std::enable_if_t<std::is_class_v<T> && std::is_convertible_v<const T&, float>, int> = 0>
  METAL_FUNC constexpr SmallFloat& operator=(const T& value) {
    return *this = SmallFloat(static_cast<float>(value));
  }

  METAL_FUNC constexpr operator float() const { return Format::decode(bits); }
  template <typename T, std::enable_if_t<std::is_arithmetic_v<T> && !std::is_same_v<T, float>, int> = 0>
  METAL_FUNC explicit constexpr operator T() const {
    return static_cast<T>(Format::decode(bits));
  }

  METAL_FUNC constexpr SmallFloat operator-() const {
    SmallFloat negated = *this;
    negated.bits = static_cast<std::uint16_t>(bits ^ 0x8000u);
    return negated;
  }
  METAL_FUNC constexpr SmallFloat operator+() const { return *this; }
  METAL_FUNC constexpr SmallFloat& operator++() { return *this = SmallFloat(Format::decode(bits) + 1.0f); }
  METAL_FUNC constexpr SmallFloat& operator--() { return *this = SmallFloat(Format::decode(bits) - 1.0f); }
  METAL_FUNC constexpr SmallFloat operator++(int) {
    SmallFloat before = *this;
    ++*this;
    return before;
  }
  METAL_FUNC constexpr SmallFloat operator--(int) {
    SmallFloat before = *this;
    --*this;
    return before;
  }
};

// The same without constructors: C++ allows it as a member of a struct without a name. See `plain`.
template <typename Format>
struct PlainSmallFloat {
  std::uint16_t bits;

  METAL_FUNC constexpr operator float() const { return Format::decode(bits); }
  METAL_FUNC SmallFloat<Format>* operator&() { return reinterpret_cast<SmallFloat<Format>*>(this); }
  METAL_FUNC const SmallFloat<Format>* operator&() const { return reinterpret_cast<const SmallFloat<Format>*>(this); }
  METAL_FUNC constexpr PlainSmallFloat& operator=(SmallFloat<Format> value) {
    bits = value.bits;
    return *this;
  }
};

template <typename T>
struct Plain {
  using type = T;
};
template <typename Format>
struct Plain<SmallFloat<Format>> {
  using type = PlainSmallFloat<Format>;
};
template <typename T>
using plain = typename Plain<T>::type;

template <typename T>
inline constexpr bool is_small_float = false;
template <typename Format>
inline constexpr bool is_small_float<SmallFloat<Format>> = true;
template <typename Format>
inline constexpr bool is_small_float<PlainSmallFloat<Format>> = true;

template <typename T>
inline constexpr bool is_scalar = std::is_arithmetic_v<T> || is_small_float<T>;

// What a binary operation on two scalars gives, by C's conversions extended to the small floats.
template <typename A, typename B>
struct Common {
  using type = std::common_type_t<A, B>;
};
template <typename F>
struct Common<SmallFloat<F>, SmallFloat<F>> {
  using type = SmallFloat<F>;
};
template <typename F, typename G>
struct Common<SmallFloat<F>, SmallFloat<G>> {
  using type = float;
};
template <typename F, typename B>
struct Common<SmallFloat<F>, B> {
  using type = std::conditional_t<std::is_floating_point_v<B>, float, SmallFloat<F>>;
};
template <typename A, typename F>
struct Common<A, SmallFloat<F>> : Common<SmallFloat<F>, A> {};
template <typename F, typename B>
struct Common<PlainSmallFloat<F>, B> : Common<SmallFloat<F>, B> {};
template <typename A, typename F>
struct Common<A, PlainSmallFloat<F>> : Common<A, SmallFloat<F>> {};
template <typename F, typename G>
struct Common<PlainSmallFloat<F>, PlainSmallFloat<G>> : Common<SmallFloat<F>, SmallFloat<G>> {};
template <typename F, typename G>
struct Common<SmallFloat<F>, PlainSmallFloat<G>> : Common<SmallFloat<F>, SmallFloat<G>> {};
template <typename F, typename G>
struct Common<PlainSmallFloat<F>, SmallFloat<G>> : Common<SmallFloat<F>, SmallFloat<G>> {};
template <typename A, typename B>
using common = typename Common<A, B>::type;

template <typename A, typename B>
using enable_if_small = std::enable_if_t<is_scalar<A> && is_scalar<B> && (is_small_float<A> || is_small_float<B>), int>;

#define SOFTMETAL_ARITHMETIC(op)                                                        \
  template <typename A, typename B, enable_if_small<A, B> = 0>                          \
  METAL_FUNC constexpr common<A, B> operator op(A a, B b) {                             \
    return common<A, B>(static_cast<float>(a) op static_cast<float>(b));                \
  }                                                                                     \
  template <typename F, typename B, std::enable_if_t<is_scalar<B>, int> = 0>            \
  METAL_FUNC constexpr SmallFloat<F>& operator op## = (SmallFloat<F> & a, B b) {        \
    return a = SmallFloat<F>(static_cast<float>(a) op static_cast<float>(b));           \
  }                                                                                     \
  template <typename A, typename F, std::enable_if_t<std::is_arithmetic_v<A>, int> = 0> \
  METAL_FUNC constexpr A& operator op## = (A & a, SmallFloat<F> b) {                    \
    return a = static_cast<A>(static_cast<float>(a) op static_cast<float>(b));          \
  }
SOFTMETAL_ARITHMETIC(+)
SOFTMETAL_ARITHMETIC(-)
SOFTMETAL_ARITHMETIC(*)
SOFTMETAL_ARITHMETIC(/)
#undef SOFTMETAL_ARITHMETIC

#define SOFTMETAL_COMPARISON(op)                               \
  template <typename A, typename B, enable_if_small<A, B> = 0> \
  METAL_FUNC constexpr bool operator op(A a, B b) {            \
    return static_cast<float>(a) op static_cast<float>(b);     \
  }
SOFTMETAL_COMPARISON(==)
SOFTMETAL_COMPARISON(!=)
SOFTMETAL_COMPARISON(<)
SOFTMETAL_COMPARISON(>)
SOFTMETAL_COMPARISON(<=)
SOFTMETAL_COMPARISON(>=)
#undef SOFTMETAL_COMPARISON

// One arm of `c ? a : b`, whose types are A and B: in their common type if either is a 16-bit float, for which C++
// knows two conversions, else as it is.
template <typename A, typename B>
using bare_common = common<std::remove_cv_t<std::remove_reference_t<A>>, std::remove_cv_t<std::remove_reference_t<B>>>;
template <typename T>
inline constexpr bool is_small_arm = is_small_float<std::remove_cv_t<std::remove_reference_t<T>>>;
template <typename T>
inline constexpr bool is_scalar_arm = is_scalar<std::remove_cv_t<std::remove_reference_t<T>>>;

template <typename T>
inline constexpr bool is_pointer_arm = std::is_pointer_v<std::remove_reference_t<T>>;

template <typename A, typename B>
METAL_FUNC constexpr decltype(auto) arm(A&& value) {
  constexpr bool is_small = is_scalar_arm<A> && is_scalar_arm<B> && (is_small_arm<A> || is_small_arm<B>);
  if constexpr (is_small && !std::is_same_v<A, B>) {
    return static_cast<bare_common<A, B>>(value);
  } else if constexpr (std::is_integral_v<A> && is_pointer_arm<B>) {
    return nullptr;
  } else {
    return static_cast<A>(static_cast<A&&>(value));
  }
}

// `a[n] = {[0 ... n - 1] = value}`, which is C's.
template <typename T, typename Value>
METAL_FUNC constexpr void fill(T& element, const Value& value) {
  element = value;
}
template <typename T, std::size_t count, typename Value>
METAL_FUNC constexpr void fill(T (&elements)[count], const Value& value) {
  for (std::size_t i = 0; i < count; i++) fill(elements[i], value);
}

}  // namespace cpu

using half = cpu::SmallFloat<cpu::HalfFormat>;
using bfloat = cpu::SmallFloat<cpu::BfloatFormat>;

}  // namespace metal

using metal::as_type;
using metal::bfloat;
using metal::half;
