// One vector of floats of the instruction set at hand, by the compiler's vector extensions. Widths are in floats.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace softmetal::cpu::native::FASTGO_ISA {

#if defined(__AVX512F__)
constexpr int width = 16;
#elif defined(__AVX2__)
constexpr int width = 8;
#else
constexpr int width = 4;
#endif

typedef float Vector __attribute__((vector_size(width * 4)));
typedef std::int32_t IntVector __attribute__((vector_size(width * 4)));
typedef std::uint32_t BitVector __attribute__((vector_size(width * 4)));

inline Vector load(const float* p) {
  Vector v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, Vector v) { std::memcpy(p, &v, sizeof v); }

inline Vector broadcast(float x) { return Vector{} + x; }

inline float half_to_float(std::uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#elif defined(__aarch64__)
  __fp16 x;
  std::memcpy(&x, &h, sizeof x);
  return x;
#else
  // Shifts the half into a float's place and lets a multiplication renormalise it, subnormals too.
  std::uint32_t magnitude = static_cast<std::uint32_t>(h & 0x7FFF) << 13;
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000) << 16;
  float value;
  if ((h & 0x7C00) == 0x7C00) {
    magnitude |= 0x7F800000;
    std::memcpy(&value, &magnitude, sizeof value);
  } else {
    std::memcpy(&value, &magnitude, sizeof value);
    value *= 5.192296858534828e33f;  // 2^112
  }
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

inline std::uint16_t float_to_half(float x) {
#if defined(__F16C__)
  return static_cast<std::uint16_t>(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__aarch64__)
  const __fp16 h = static_cast<__fp16>(x);
  std::uint16_t bits;
  std::memcpy(&bits, &h, sizeof bits);
  return bits;
#else
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000;
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x47800000) return static_cast<std::uint16_t>(sign | 0x7C00);
  if (magnitude < 0x38800000) {
    // Adding 0.5 puts the half's last bit at the float's last bit, so the hardware rounds.
    float value;
    std::memcpy(&value, &magnitude, sizeof value);
    value += 0.5f;
    std::uint32_t rounded;
    std::memcpy(&rounded, &value, sizeof rounded);
    return static_cast<std::uint16_t>(sign | (rounded - 0x3F000000));
  }
  const std::uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000) >> 13));
#endif
}

inline float bfloat_to_float(std::uint16_t b) {
  const std::uint32_t bits = static_cast<std::uint32_t>(b) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// A bfloat16 of the cache; a bare std::uint16_t is the bits of a half.
struct Bfloat {
  std::uint16_t bits;
};

// Rounded to nearest, ties to even; NaN stays NaN.
inline Bfloat float_to_bfloat(float x) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

// A vector of consecutive cache elements.
inline Vector load_as_float(const float* p) { return load(p); }

inline Vector load_as_float(const std::uint16_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Vector>(_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<Vector>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__aarch64__)
  return reinterpret_cast<Vector>(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))));
#else
  Vector v;
  for (int i = 0; i < width; i++) v[i] = half_to_float(p[i]);
  return v;
#endif
}

inline Vector load_as_float(const Bfloat* p) {
#if defined(__AVX512F__)
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return reinterpret_cast<Vector>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
#elif defined(__AVX2__)
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return reinterpret_cast<Vector>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
#elif defined(__aarch64__)
  return reinterpret_cast<Vector>(vshll_n_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(p)), 16));
#else
  Vector v;
  for (int i = 0; i < width; i++) v[i] = bfloat_to_float(p[i].bits);
  return v;
#endif
}

inline Vector load_as_float(const std::int8_t* p) {
  typedef std::int8_t Bytes __attribute__((vector_size(width)));
  Bytes bytes;
  std::memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(__builtin_convertvector(bytes, IntVector), Vector);
}

inline float scalar_as_float(float x) { return x; }
inline float scalar_as_float(std::int8_t x) { return static_cast<float>(x); }
inline float scalar_as_float(Bfloat b) { return bfloat_to_float(b.bits); }
inline float scalar_as_float(std::uint16_t h) { return half_to_float(h); }
inline void store_from_float(float* p, float x) { *p = x; }
inline void store_from_float(Bfloat* p, float x) { *p = float_to_bfloat(x); }
inline void store_from_float(std::uint16_t* p, float x) { *p = float_to_half(x); }

inline float horizontal_sum(Vector v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(reinterpret_cast<__m512>(v));
#elif defined(__aarch64__)
  return vaddvq_f32(reinterpret_cast<float32x4_t>(v));
#else
  float sum = 0;
  for (int i = 0; i < width; i++) sum += v[i];
  return sum;
#endif
}

// Lane i of the result is the sum of v[i]: `width` sums for little more than the price of two.
inline Vector horizontal_sums(const Vector v[width]) {
#if defined(__AVX512F__)
  __m512 pairs[8], fours[4];
  for (int i = 0; i < 8; i++) {
    const auto a = reinterpret_cast<__m512>(v[2 * i]), b = reinterpret_cast<__m512>(v[2 * i + 1]);
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 4; i++) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  // Each of `fours` now holds four sums, spread over its four quarters.
  __m512 eights[2];
  for (int i = 0; i < 2; i++) {
    const __m512 a = fours[2 * i], b = fours[2 * i + 1];
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xDD));
  }
  return reinterpret_cast<Vector>(_mm512_add_ps(_mm512_shuffle_f32x4(eights[0], eights[1], 0x88),
                                                _mm512_shuffle_f32x4(eights[0], eights[1], 0xDD)));
#elif defined(__aarch64__)
  const auto pairs = [&](int i) {
    return vpaddq_f32(reinterpret_cast<float32x4_t>(v[i]), reinterpret_cast<float32x4_t>(v[i + 1]));
  };
  return reinterpret_cast<Vector>(vpaddq_f32(pairs(0), pairs(2)));
#else
  Vector sums;
  for (int i = 0; i < width; i++) sums[i] = horizontal_sum(v[i]);
  return sums;
#endif
}

inline Vector select(IntVector mask, Vector a, Vector b) {
  return reinterpret_cast<Vector>((mask & reinterpret_cast<IntVector>(a)) | (~mask & reinterpret_cast<IntVector>(b)));
}

// Whether any lane of a comparison's result is set.
inline bool any(IntVector mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) != 0;
#else
  std::int32_t found = 0;
  for (int i = 0; i < width; i++) found |= mask[i];
  return found != 0;
#endif
}

// e^x to about 1e-7 relative, for any finite x; saturates to 0 and to 2^127.
inline Vector exponential(Vector x) {
  const Vector low = broadcast(-87.0f), high = broadcast(88.0f);
  x = select(x < low, low, x);
  x = select(x > high, high, x);
  const Vector scaled = x * 1.44269504088896341f;
  // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
  const Vector magic = broadcast(12582912.0f);
  const Vector shifted = scaled + magic;
  const Vector n = shifted - magic;
  const Vector r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Vector p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const BitVector exponent = (reinterpret_cast<BitVector>(shifted) - 0x4B400000) << 23;
  return reinterpret_cast<Vector>(reinterpret_cast<BitVector>(p) + exponent);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
