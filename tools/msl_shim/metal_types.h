// Scalars, vectors and address spaces of the Metal Shading Language for a stock clang: enough to check types.
//
// Only declarations matter here, nothing is ever run. `device`, `constant` and `threadgroup` are true address spaces,
// so mixing them is an error as it is in Metal; `thread` is clang's default space. Constructor calls of vectors reach
// this file as make_float4(...) because clang's own vectors have no constructors.
#pragma once

#define METAL_FUNC inline __attribute__((always_inline))

#define kernel
#define thread
#ifdef MSL_SHIM_ONE_SPACE  // for a second look at places where only address spaces stood in clang's way
#define device
#define constant const
#define threadgroup
#else
#define device __attribute__((address_space(1)))
#define constant const __attribute__((address_space(2)))
#define threadgroup __attribute__((address_space(3)))
#endif
#define coherent(scope)

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef __bf16 bfloat;
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef uchar uint8_t;
typedef ushort uint16_t;
typedef uint uint32_t;
typedef ulong uint64_t;

namespace metal {

template <typename T, int N>
using vec = T __attribute__((ext_vector_type(N)));

namespace detail {

template <typename T>
struct vector_traits {
  typedef T element;
  static const int count = 1;
};
template <typename T, int N>
struct vector_traits<T __attribute__((ext_vector_type(N)))> {
  typedef T element;
  static const int count = N;
};

template <typename T>
constexpr int components(T) {
  return vector_traits<T>::count;
}
constexpr int total() { return 0; }
template <typename... Rest>
constexpr int total(int first, Rest... rest) {
  return first + total(rest...);
}

// One scalar fills all components, one vector of the same length is converted, else the components must add up.
template <typename Vector, typename... Parts>
constexpr Vector make(Parts...) {
  static_assert((sizeof...(Parts) == 1 && total(vector_traits<Parts>::count...) == 1) ||
                    total(vector_traits<Parts>::count...) == vector_traits<Vector>::count,
                "the components given to a vector constructor don't add up");
  return Vector{};
}

// The value of a function constant: of any type, and never a constant expression.
struct unknown_value {
  template <typename T>
  operator T() const;
};

// Where a threadgroup variable lives: nothing constructs it, so it is a reference to somewhere.
template <typename T>
threadgroup T& threadgroup_storage();

}  // namespace detail
}  // namespace metal

#define MSL_SHIM_VECTOR(scalar, n)                                               \
  typedef scalar scalar##n __attribute__((ext_vector_type(n)));                  \
  typedef scalar##n packed_##scalar##n __attribute__((aligned(sizeof(scalar)))); \
  template <typename... Parts>                                                   \
  constexpr scalar##n make_##scalar##n(Parts... parts) {                         \
    return metal::detail::make<scalar##n>(parts...);                             \
  }                                                                              \
  template <typename... Parts>                                                   \
  constexpr scalar##n make_packed_##scalar##n(Parts... parts) {                  \
    return metal::detail::make<scalar##n>(parts...);                             \
  }                                                                              \
  namespace metal {                                                              \
  using ::make_##scalar##n;                                                      \
  using ::make_packed_##scalar##n;                                               \
  using ::packed_##scalar##n;                                                    \
  using ::scalar##n;                                                             \
  }
#define MSL_SHIM_VECTORS(scalar) \
  MSL_SHIM_VECTOR(scalar, 2)     \
  MSL_SHIM_VECTOR(scalar, 3)     \
  MSL_SHIM_VECTOR(scalar, 4)
MSL_SHIM_VECTORS(char)
MSL_SHIM_VECTORS(uchar)
MSL_SHIM_VECTORS(short)
MSL_SHIM_VECTORS(ushort)
MSL_SHIM_VECTORS(int)
MSL_SHIM_VECTORS(uint)
MSL_SHIM_VECTORS(long)
MSL_SHIM_VECTORS(ulong)
MSL_SHIM_VECTORS(half)
MSL_SHIM_VECTORS(bfloat)
MSL_SHIM_VECTORS(float)

// Comparing clang's vectors gives integer vectors, so that is what a vector of bool is here.
typedef int2 bool2;
typedef int3 bool3;
typedef int4 bool4;
template <typename... Parts>
constexpr bool2 make_bool2(Parts... parts) {
  return metal::detail::make<bool2>(parts...);
}
template <typename... Parts>
constexpr bool3 make_bool3(Parts... parts) {
  return metal::detail::make<bool3>(parts...);
}
template <typename... Parts>
constexpr bool4 make_bool4(Parts... parts) {
  return metal::detail::make<bool4>(parts...);
}

namespace metal {
template <typename T>
struct vec_elements {
  static constexpr int value = detail::vector_traits<T>::count;
};
using ::bfloat;
using ::half;
using ::int16_t;
using ::int32_t;
using ::int64_t;
using ::int8_t;
using ::ptrdiff_t;
using ::size_t;
using ::uchar;
using ::uint;
using ::uint16_t;
using ::uint32_t;
using ::uint64_t;
using ::uint8_t;
using ::ulong;
using ::ushort;
}  // namespace metal
