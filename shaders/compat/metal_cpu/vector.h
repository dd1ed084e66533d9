// MSL's vectors: vec<T, 2..4>, packed_vec, their operators and swizzles.
//
// A swizzle v.zx is written by mslc as v.swizzle<2, 0>(), one that is assigned to as v.swizzle_reference<2, 0>().
#pragma once

#include <utility>

#include "scalar.h"

namespace metal {

template <typename T, int N>
struct vec;
template <typename T, int N>
struct packed_vec;

namespace cpu {

template <typename T>
inline constexpr int components = is_scalar<T> ? 1 : 0;
template <typename T, int N>
inline constexpr int components<vec<T, N>> = N;
template <typename T, int N>
inline constexpr int components<packed_vec<T, N>> = N;

template <typename T>
inline constexpr bool is_vector = components<T> > 1;

template <typename T, int N, std::size_t alignment>
struct Components;
template <typename T, std::size_t alignment>
struct alignas(alignment) Components<T, 2, alignment> {
  T x, y;
};
template <typename T, std::size_t alignment>
struct alignas(alignment) Components<T, 3, alignment> {
  T x, y, z;
};
template <typename T, std::size_t alignment>
struct alignas(alignment) Components<T, 4, alignment> {
  T x, y, z, w;
};

template <int index, typename V>
METAL_FUNC constexpr auto component(const V& value) {
  if constexpr (is_scalar<V>) {
    return value;
  } else if constexpr (index == 0) {
    return value.x;
  } else if constexpr (index == 1) {
    return value.y;
  } else if constexpr (index == 2) {
    return value.z;
  } else {
    return value.w;
  }
}

template <int index, typename V>
METAL_FUNC constexpr auto& component_reference(V& value) {
  if constexpr (index == 0) {
    return value.x;
  } else if constexpr (index == 1) {
    return value.y;
  } else if constexpr (index == 2) {
    return value.z;
  } else {
    return value.w;
  }
}

// Component `index` of the concatenation of the arguments.
template <int index, typename First, typename... Rest>
METAL_FUNC constexpr auto pick(const First& first, const Rest&... rest) {
  if constexpr (index < components<First>) {
    return component<index>(first);
  } else {
    return pick<index - components<First>>(rest...);
  }
}

template <typename T, int N, int... I>
struct SwizzleReference {
  vec<T, N>& target;

  template <typename V>
  METAL_FUNC constexpr void operator=(const V& value) const {
    const vec<T, sizeof...(I)> source(value);
    assign(source, std::make_integer_sequence<int, sizeof...(I)>());
  }
  METAL_FUNC constexpr vec<T, sizeof...(I)> get() const { return target.template swizzle<I...>(); }

#define SOFTMETAL_COMPOUND(op)                                       \
  template <typename V>                                              \
  METAL_FUNC constexpr void operator op## = (const V& value) const { \
    *this = get() op value;                                          \
  }
  SOFTMETAL_COMPOUND(+)
  SOFTMETAL_COMPOUND(-)
  SOFTMETAL_COMPOUND(*)
  SOFTMETAL_COMPOUND(/)
  SOFTMETAL_COMPOUND(%)
  SOFTMETAL_COMPOUND(&)
  SOFTMETAL_COMPOUND(|)
  SOFTMETAL_COMPOUND(^)
  SOFTMETAL_COMPOUND(<<)
  SOFTMETAL_COMPOUND(>>)
#undef SOFTMETAL_COMPOUND

 private:
  template <int... J>
  METAL_FUNC constexpr void assign(const vec<T, sizeof...(I)>& source, std::integer_sequence<int, J...>) const {
    ((component_reference<I>(target) = component<J>(source)), ...);
  }
};

}  // namespace cpu

template <typename T, int N>
struct vec : cpu::Components<T, N, sizeof(T) * (N == 3 ? 4 : N)> {
  vec() = default;

  template <typename U, std::enable_if_t<cpu::is_scalar<U>, int> = 0>
  METAL_FUNC constexpr vec(U value) {
    fill(static_cast<T>(value));
  }
  template <typename U, std::enable_if_t<!std::is_same_v<T, U>, int> = 0>
  METAL_FUNC explicit constexpr vec(const vec<U, N>& other) {
    set(std::make_integer_sequence<int, N>(), other);
  }
  template <typename U>
  METAL_FUNC constexpr vec(const packed_vec<U, N>& other) {
    set(std::make_integer_sequence<int, N>(), other);
  }
  template <typename A, typename B, typename... Rest,
            std::enable_if_t<cpu::components<A> + cpu::components<B> + (0 + ... + cpu::components<Rest>) == N, int> = 0>
  METAL_FUNC constexpr vec(const A& a, const B& b, const Rest&... rest) {
    set(std::make_integer_sequence<int, N>(), a, b, rest...);
  }

  // `uint4 v = {x, y}`: what is left out is zero.
  template <typename A, typename B, typename... Rest,
            std::enable_if_t<(sizeof...(Rest) + 2 < N) && cpu::is_scalar<A> && cpu::is_scalar<B> &&
                                 (true && ... && cpu::is_scalar<Rest>),
                             int> = 0>
  METAL_FUNC constexpr vec(const A& a, const B& b, const Rest&... rest) {
    if constexpr (sizeof...(Rest) + 3 == N) {
      set(std::make_integer_sequence<int, N>(), a, b, rest..., T(0));
    } else {
      set(std::make_integer_sequence<int, N>(), a, b, rest..., T(0), T(0));
    }
  }

  // Components lie one after another, so the address of the first is that of an array.
  METAL_FUNC T& operator[](std::size_t index) { return reinterpret_cast<T*>(this)[index]; }
  METAL_FUNC const T& operator[](std::size_t index) const { return reinterpret_cast<const T*>(this)[index]; }

  template <int... I>
  METAL_FUNC constexpr vec<T, sizeof...(I)> swizzle() const {
    return vec<T, sizeof...(I)>(cpu::component<I>(*this)...);
  }
  template <int... I>
  METAL_FUNC constexpr cpu::SwizzleReference<T, N, I...> swizzle_reference() {
    return {*this};
  }

 private:
  template <int... I, typename... Parts>
  METAL_FUNC constexpr void set(std::integer_sequence<int, I...>, const Parts&... parts) {
    ((cpu::component_reference<I>(*this) = static_cast<T>(cpu::pick<I>(parts...))), ...);
  }
  METAL_FUNC constexpr void fill(T value) {
    this->x = value;
    this->y = value;
    if constexpr (N > 2) this->z = value;
    if constexpr (N > 3) this->w = value;
  }
};

template <typename T, int N>
struct packed_vec : cpu::Components<T, N, alignof(T)> {
  packed_vec() = default;
  template <typename U, std::enable_if_t<cpu::is_scalar<U>, int> = 0>
  METAL_FUNC constexpr packed_vec(U value) : packed_vec(vec<T, N>(value)) {}
  METAL_FUNC constexpr packed_vec(const vec<T, N>& other) {
    this->x = other.x;
    this->y = other.y;
    if constexpr (N > 2) this->z = other.z;
    if constexpr (N > 3) this->w = other.w;
  }
  template <typename A, typename B, typename... Rest,
            std::enable_if_t<cpu::components<A> + cpu::components<B> + (0 + ... + cpu::components<Rest>) == N, int> = 0>
  METAL_FUNC constexpr packed_vec(const A& a, const B& b, const Rest&... rest) : packed_vec(vec<T, N>(a, b, rest...)) {}

  METAL_FUNC T& operator[](std::size_t index) { return reinterpret_cast<T*>(this)[index]; }
  METAL_FUNC const T& operator[](std::size_t index) const { return reinterpret_cast<const T*>(this)[index]; }
  template <int... I>
  METAL_FUNC constexpr vec<T, sizeof...(I)> swizzle() const {
    return vec<T, N>(*this).template swizzle<I...>();
  }
};

namespace cpu {

template <typename R, int N, int... I, typename F, typename... V>
METAL_FUNC constexpr vec<R, N> map_components(std::integer_sequence<int, I...>, F function, const V&... values) {
  vec<R, N> result;
  auto one = [&](auto index) {
    component_reference<index.value>(result) = static_cast<R>(function(component<index.value>(values)...));
  };
  (one(std::integral_constant<int, I>()), ...);
  return result;
}

// vec<R, N> of function(component of each value); scalars serve for every component.
template <typename R, int N, typename F, typename... V>
METAL_FUNC constexpr vec<R, N> map(F function, const V&... values) {
  return map_components<R, N>(std::make_integer_sequence<int, N>(), function, values...);
}

template <typename V>
struct ElementOf {
  using type = V;
};
template <typename T, int N>
struct ElementOf<vec<T, N>> {
  using type = T;
};
template <typename T, int N>
struct ElementOf<packed_vec<T, N>> {
  using type = T;
};
template <typename V>
using element = typename ElementOf<V>::type;

// The vector that an operation on A and B gives: of the vector operand's element type.
template <typename A, typename B>
struct VectorResult {
  static constexpr bool a_vector = is_vector<A>, b_vector = is_vector<B>;
  static constexpr int n = a_vector ? components<A> : components<B>;
  static constexpr bool valid =
      (a_vector && b_vector && components<A> == components<B> && std::is_same_v<element<A>, element<B>>) ||
      (a_vector && is_scalar<B>) || (b_vector && is_scalar<A>);
  using type = element<std::conditional_t<a_vector, A, B>>;
};

template <typename A, typename B>
using enable_if_vectors = std::enable_if_t<VectorResult<A, B>::valid, int>;
template <typename A, typename B>
using result_element = typename VectorResult<A, B>::type;
template <typename A, typename B>
using result_vector = vec<result_element<A, B>, VectorResult<A, B>::n>;

}  // namespace cpu

#define SOFTMETAL_BINARY(op)                                                                  \
  template <typename A, typename B, cpu::enable_if_vectors<A, B> = 0>                         \
  METAL_FUNC constexpr cpu::result_vector<A, B> operator op(const A& a, const B& b) {         \
    using T = cpu::result_element<A, B>;                                                      \
    return cpu::map<T, cpu::VectorResult<A, B>::n>(                                           \
        [](auto l, auto r) { return static_cast<T>(l) op static_cast<T>(r); }, a, b);         \
  }                                                                                           \
  template <typename T, int N, typename B, cpu::enable_if_vectors<vec<T, N>, B> = 0>          \
  METAL_FUNC constexpr vec<T, N>& operator op## = (vec<T, N> & a, const B& b) {               \
    return a = a op b;                                                                        \
  }                                                                                           \
  template <typename T, int N, typename B, cpu::enable_if_vectors<packed_vec<T, N>, B> = 0>   \
  METAL_FUNC constexpr packed_vec<T, N>& operator op## = (packed_vec<T, N> & a, const B& b) { \
    return a = a op b;                                                                        \
  }
SOFTMETAL_BINARY(+)
SOFTMETAL_BINARY(-)
SOFTMETAL_BINARY(*)
SOFTMETAL_BINARY(/)
SOFTMETAL_BINARY(%)
SOFTMETAL_BINARY(&)
SOFTMETAL_BINARY(|)
SOFTMETAL_BINARY(^)
SOFTMETAL_BINARY(<<)
SOFTMETAL_BINARY(>>)
#undef SOFTMETAL_BINARY

#define SOFTMETAL_COMPARISON(op)                                                                   \
  template <typename A, typename B, cpu::enable_if_vectors<A, B> = 0>                              \
  METAL_FUNC constexpr vec<bool, cpu::VectorResult<A, B>::n> operator op(const A& a, const B& b) { \
    using T = cpu::result_element<A, B>;                                                           \
    return cpu::map<bool, cpu::VectorResult<A, B>::n>(                                             \
        [](auto l, auto r) { return static_cast<T>(l) op static_cast<T>(r); }, a, b);              \
  }
SOFTMETAL_COMPARISON(==)
SOFTMETAL_COMPARISON(!=)
SOFTMETAL_COMPARISON(<)
SOFTMETAL_COMPARISON(>)
SOFTMETAL_COMPARISON(<=)
SOFTMETAL_COMPARISON(>=)
SOFTMETAL_COMPARISON(&&)
SOFTMETAL_COMPARISON(||)
#undef SOFTMETAL_COMPARISON

#define SOFTMETAL_UNARY(op, R)                                             \
  template <typename T, int N>                                             \
  METAL_FUNC constexpr vec<R, N> operator op(const vec<T, N>& a) {         \
    return cpu::map<R, N>([](auto v) { return static_cast<R>(op v); }, a); \
  }                                                                        \
  template <typename T, int N>                                             \
  METAL_FUNC constexpr vec<R, N> operator op(const packed_vec<T, N>& a) {  \
    return op vec<T, N>(a);                                                \
  }
SOFTMETAL_UNARY(-, T)
SOFTMETAL_UNARY(+, T)
SOFTMETAL_UNARY(~, T)
SOFTMETAL_UNARY(!, bool)
#undef SOFTMETAL_UNARY

template <typename T, int N>
METAL_FUNC constexpr vec<T, N>& operator++(vec<T, N>& a) {
  return a = a + T(1);
}
template <typename T, int N>
METAL_FUNC constexpr vec<T, N>& operator--(vec<T, N>& a) {
  return a = a - T(1);
}
template <typename T, int N>
METAL_FUNC constexpr vec<T, N> operator++(vec<T, N>& a, int) {
  vec<T, N> before = a;
  ++a;
  return before;
}
template <typename T, int N>
METAL_FUNC constexpr vec<T, N> operator--(vec<T, N>& a, int) {
  vec<T, N> before = a;
  --a;
  return before;
}

}  // namespace metal

// The named vectors exist with and without `using namespace metal`, as in Metal.
#define SOFTMETAL_VECTORS(name, T)                  \
  typedef metal::vec<T, 2> name##2;                 \
  typedef metal::vec<T, 3> name##3;                 \
  typedef metal::vec<T, 4> name##4;                 \
  typedef metal::packed_vec<T, 2> packed_##name##2; \
  typedef metal::packed_vec<T, 3> packed_##name##3; \
  typedef metal::packed_vec<T, 4> packed_##name##4; \
  typedef metal::vec<T, 2> simd_##name##2;          \
  typedef metal::vec<T, 3> simd_##name##3;          \
  typedef metal::vec<T, 4> simd_##name##4;          \
  namespace metal {                                 \
  using ::name##2;                                  \
  using ::name##3;                                  \
  using ::name##4;                                  \
  using ::packed_##name##2;                         \
  using ::packed_##name##3;                         \
  using ::packed_##name##4;                         \
  }
SOFTMETAL_VECTORS(bool, bool)
SOFTMETAL_VECTORS(char, char)
SOFTMETAL_VECTORS(uchar, unsigned char)
SOFTMETAL_VECTORS(short, short)
SOFTMETAL_VECTORS(ushort, unsigned short)
SOFTMETAL_VECTORS(int, int)
SOFTMETAL_VECTORS(uint, unsigned int)
SOFTMETAL_VECTORS(long, long)
SOFTMETAL_VECTORS(ulong, unsigned long)
SOFTMETAL_VECTORS(half, metal::half)
SOFTMETAL_VECTORS(bfloat, metal::bfloat)
SOFTMETAL_VECTORS(float, float)
#undef SOFTMETAL_VECTORS

namespace simd = metal;
