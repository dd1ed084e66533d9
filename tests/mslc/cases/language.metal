// The language: macros, swizzles, literals, constants, overloads, address spaces, builtins, atomics. No lock step.
#include <metal_stdlib>

#include "language.h"
using namespace metal;

constant bool scaled [[function_constant(FIRST_CONSTANT)]];
constant float2 factors [[function_constant(FIRST_CONSTANT + 1)]];
constant uint offset [[function_constant(5)]];
constant bool has_offset = is_function_constant_defined(offset);
constant uint doubled_offset = has_offset ? offset * 2 : 7;
constant float table[4] = {1.0, 2.5, 1e1, .5};

#ifdef EXTRA
constant int extra = EXTRA;
#else
constant int extra = 0;
#endif

namespace tools {
inline float twice(thread const float& x) { return x * 2; }
inline float twice(device const float& x) { return x * 2; }
inline float twice(constant float& x) { return x * 2; }

struct Counter {
  uint n;
  void add(uint m) thread { n += m; }
  uint get() const thread { return n; }
  uint get() const device { return n; }
};
}  // namespace tools

template <typename T>
struct is_pointer_to {
  static constant constexpr bool value = false;
};
template <typename T>
struct is_pointer_to<device T*> {
  static constant constexpr bool value = true;
};
template <typename T>
struct is_pointer_to<threadgroup T*> {
  static constant constexpr bool value = true;
};

kernel void constants(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  y[i] = (scaled ? factors.x : factors.y) + doubled_offset * 100 + table[i % 4] + extra;
}

kernel void guarded(device float* y [[buffer(0)]], device const float* z [[buffer(1), function_constant(scaled)]]) {
  y[0] = scaled ? z[0] : -1.0f;
}

kernel void positions(device uint* out [[buffer(0)]], uint3 p [[thread_position_in_grid]],
                      ushort3 t [[thread_position_in_threadgroup]], uint2 g [[threadgroup_position_in_grid]],
                      uint3 size [[threads_per_grid]], uint3 group [[threads_per_threadgroup]],
                      uint3 dispatched [[dispatch_threads_per_threadgroup]], uint index [[thread_index_in_threadgroup]],
                      uint3 groups [[threadgroups_per_grid]]) {
  device uint* row = out + ((p.z * size.y + p.y) * size.x + p.x) * 8;
  row[0] = p.x + 100 * p.y + 10000 * p.z;
  row[1] = t.x + 100 * t.y + 10000 * t.z;
  row[2] = g.x + 100 * g.y;
  row[3] = group.x + 100 * group.y + 10000 * group.z;
  row[4] = dispatched.x + 100 * dispatched.y + 10000 * dispatched.z;
  row[5] = index;
  row[6] = groups.x + 100 * groups.y + 10000 * groups.z;
  row[7] = size.x + 100 * size.y + 10000 * size.z;
}

kernel void swizzles(device const float4* x [[buffer(0)]], device float4* y [[buffer(1)]], constant Options& options,
                     uint i [[thread_position_in_grid]]) {
  float4 v = x[i];
  float4 w = v.wzyx;
  w.xy = v.zz;
  w.zw *= 2.0;
  w.rgb += float3(options.shift[1]);
  float2 pair = w.ba;
  packed_float3 p = packed_float3(v.xyz);
  v[1] = pair.x + float(p.z);
  y[i] = select(w, v, bool4(false, true, false, i > 0));
}

kernel void rounding(device const float* x [[buffer(0)]], device half* h [[buffer(1)]], device bfloat* b [[buffer(2)]],
                     device float* back [[buffer(3)]], uint i [[thread_position_in_grid]]) {
  h[i] = x[i];
  b[i] = bfloat(x[i]);
  back[i] = h[i] * 1.0h + 0.5h;
  back[i] += (i % 2 == 0) ? h[i] : 0;
}

kernel void integers(device const uint* x [[buffer(0)]], device uint* y [[buffer(1)]],
                     uint i [[thread_position_in_grid]]) {
  uint v = x[i];
  device uint* row = y + i * 12;
  row[0] = popcount(v);
  row[1] = clz(v);
  row[2] = ctz(v);
  row[3] = reverse_bits(v);
  row[4] = extract_bits(v, 5, 9);
  row[5] = as_type<uint>(extract_bits(as_type<int>(v), 5, 9));
  row[6] = insert_bits(v, 0x155u, 3, 7);
  row[7] = rotate(v, 11u);
  row[8] = mulhi(v, 0x12345678u);
  row[9] = uint(as_type<uchar4>(v).y) + uint(clz(uchar(v)));
  row[10] = min(max(v, 10u), 1000u) + uint(abs(int(v) / 4));
  row[11] = addsat(v, 0x80000000u) ^ (any(uint4(v) == uint4(0, 1, 2, 3)) ? 1 : 0);
}

kernel void count_atomically(device atomic_uint* counts [[buffer(0)]], device atomic<float>* sum [[buffer(1)]],
                             uint i [[thread_position_in_grid]]) {
  atomic_fetch_add_explicit(&counts[i % 3], 1, memory_order_relaxed);
  atomic_fetch_max_explicit(counts + 3, i, memory_order_relaxed);
  atomic_fetch_add_explicit(sum, 0.5f, memory_order_relaxed);
}

template <int K, typename... Ts>
struct Last {
  static constant constexpr int value = K;
};

[[host_name("renamed"), kernel]] void original(device float* y [[buffer(2)]], device const float& x [[buffer(3)]]) {
  tools::Counter counter{1};
  counter.add(2);
  char small = char(200);
  float half_of = x / 2, parts[2] = {0.25, 0x1p-2};
  y[0] = tools::twice(x) + tools::twice(half_of) + float(counter.get()) + float(small) + parts[0] + parts[1];
  y[1] = is_pointer_to<device float*>::value + is_pointer_to<float>::value * 2 + Last<int(3 > 2), float>::value * 4;
  y[2] = VARIADIC(1, 2, 3) + VARIADIC(4) + CONCAT(4, 2);
  y[3] = float3x2(float2(1, 2), float2(3, 4), float2(5, 6))[2].y + (float2x2(2.0f) * float2(1, 2)).y;
}

kernel void functions(device const float* x [[buffer(0)]], device float* y [[buffer(1)]],
                      uint i [[thread_position_in_grid]]) {
  float v = x[i];
  device float* row = y + i * 10;
  row[0] = precise::exp(v);
  row[1] = metal::fast::tanh(v);
  row[2] = rsqrt(abs(v) + 1);
  row[3] = mix(v, 2.0f, 0.25f);
  row[4] = fma(v, v, 1.0f);
  row[5] = dot(float3(v, 1, 2), float3(2, v, 1));
  row[6] = length(float2(v, 1)) + float(isnan(v)) + sign(v);
  row[7] = clamp(v, -0.5f, 0.5f) + saturate(v) + fract(v) + step(0.0f, v);
  row[8] = float(half(v) * half(v)) + exp2(float4(v)).w;
  row[9] = numeric_limits<half>::max() + max3(v, 0.0f, 1.0f) + (v > 0 ? INFINITY : -FLT_MAX);
}
