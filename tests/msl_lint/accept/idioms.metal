// Sound MSL that a linter could easily take for a mistake.
#include <metal_simdgroup_matrix>
#include <metal_stdlib>
using namespace metal;

struct Block {
  half scale;
  uchar nibbles[16];
};

struct Args {
  uint columns;
  float eps;
  packed_float3 center;
};

struct Tile {
  static constant constexpr uint size = 8;
  float4 sum;
  threadgroup float* scratch;
  void add(float4 x) { sum += x; }
  float total() const { return dot(sum, float4(1.0f)); }
};

struct Partial {
  float best;
  uint id;
};

enum class Mode : uint { plain, scaled };

constant uint width [[function_constant(0)]];
constant bool scaled [[function_constant(1)]];
constant uint used_width = is_function_constant_defined(width) ? width : 4;
constant float table[4] = {0.0f, 0.25f, 0.5f, 1.0f};

template <typename T>
inline T twice(T x) {
  return x * T(2);
}

inline void bump(device atomic_uint* count, threadgroup atomic_int* local_count) {
  atomic_fetch_add_explicit(count, 1u, memory_order_relaxed);
  atomic_store_explicit(local_count, 0, memory_order_relaxed);
}

inline float product(uint a, uint b, thread float& out) {
  uint area = (a)*b;
  out = float(area * a) * table[area & 3];
  return a && b ? out : -out;
}

template <typename T, uint N>
[[max_total_threads_per_threadgroup(256)]] kernel void mixed(constant Args& args [[buffer(0)]],
                                                             device const Block* blocks [[buffer(1)]],
                                                             device T* y [[buffer(2), function_constant(scaled)]],
                                                             device atomic_uint* count [[buffer(3)]],
                                                             threadgroup float* dynamic [[threadgroup(0)]],
                                                             uint3 position [[thread_position_in_grid]],
                                                             ushort lane [[thread_index_in_simdgroup]]) {
  threadgroup float scratch[N][33];
  threadgroup atomic_int local_count;
  threadgroup Partial partials[N];
  threadgroup float* row = scratch[lane % N];
  device const Block& block = blocks[position.x];
  thread auto& args_columns = position;
  bump(count, &local_count);
  partials[0].best = 0.0f;
  float4 values = float4(float2(block.scale), 1.0f, args.eps);
  values.xy = values.zw + float2(args.center.x, table[1]);
  uchar4 bits = uchar4(block.nibbles[0], 1, 2, 3) & uchar4(15);
  Tile tile = {values, row};
  tile.add(float4(bits) * as_type<float>(0x3F800000u));
  float area;
  row[lane] = product(args_columns.x, args.columns, area);
  threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
  float best = max(simd_max(tile.total()), precise::exp(dynamic[lane]));
  if constexpr (N > 2) {
    best = clamp(best, -1.0f, 1.0f);
  }
  for (uint i = 0; i < used_width; i++) {
    best += simd_shuffle_xor(best, ushort(i)) + select(0.0f, 1.0f, i == 1);
  }
  if (scaled) {
    y[position.x] = T(twice(best));
  }
}

#define INSTANTIATE(name, T) template [[host_name("mixed_" #name)]] kernel decltype(mixed<T, 4>) mixed<T, 4>;
INSTANTIATE(f32, float)
INSTANTIATE(f16, half)
INSTANTIATE(bf16, bfloat)

kernel void matrix(device const half* a [[buffer(0)]], device const half* b [[buffer(1)]],
                   device float* c [[buffer(2)]], uint2 group [[threadgroup_position_in_grid]]) {
  simdgroup_matrix<half, 8, 8> left;
  simdgroup_half8x8 right;
  simdgroup_float8x8 sum = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_load(left, a + group.x * 64);
  simdgroup_load(right, b, 16, ulong2(0, 8), true);
  simdgroup_multiply_accumulate(sum, left, right, sum);
  sum.thread_elements()[0] *= 2.0f;
  simdgroup_store(sum, c, 8);
}

// What other projects write.
METAL_FUNC bfloat converted(half x) { return static_cast<bfloat>(x); }

kernel void foreign(device const half* x [[buffer(0)]], device bfloat* y [[buffer(1)]],
                    constant size_t& size [[buffer(2)]], uint i [[thread_position_in_grid]]) {
  for (int j = 0; j < size; j++) {
    y[i] = converted(x[j]);
  }
  y[i] = bfloat(M_2_SQRTPI_F * M_SQRT2_F);
}

struct Complex {
  float real, imaginary;
  constexpr Complex(float a, float b) thread : real(a), imaginary(b) {}
  constexpr Complex(float a, float b) threadgroup : real(a), imaginary(b) {}
  constexpr Complex() thread : real(0), imaginary(0) {}
  float norm() const thread { return real * real + imaginary * imaginary; }
  float norm() const device { return real * real + imaginary * imaginary; }
};

typedef half4 four_halves;
constant constexpr bool rotated [[function_constant(2)]];

inline float first_of(threadgroup float values[4][8], Partial partial) { return values[0][0] + partial.best; }

inline ushort half_of(ushort n) { return n / 2; }
inline uint half_of(uint n) { return half_of(ushort(n)); }

kernel void copies(device Partial* partials [[buffer(0)]], constant Partial& given [[buffer(1)]],
                   device Complex* z [[buffer(2)]], device half4* h [[buffer(3)]], device float4x4& m [[buffer(4)]],
                   coherent(device) device atomic_uint* flag [[buffer(5)]], uint i [[thread_position_in_grid]]) {
  threadgroup float zeros[(4 + 4) / 2][8] = {0};
  Partial mine = given;
  partials[1] = mine;
  partials[2] = partials[1];
  mine = partials[i];
  float x = first_of(zeros, partials[3]) + z[i].norm() + (rotated ? 1.0 : 2.5e-1);
  float4 wide = (float4)h[i] + static_cast<float4>(h[i + 1]) + metal::vec<float, 4>(h[i]) * 2.0;
  h[i] = four_halves(0.5h, half(wide.x), 1, 2) + (half4)wide;
  float4x4 square = m;
  h[i] += half4((square * square)[1] * pow(x, int(i)) + square * wide);
  float powers[4] = {[0 ... 3] = 1.0f, [2] = 2.0f};
  x = sqrt(-2.0 * log(powers[i & 3])) + fmod(x, 2);
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
  atomic_store_explicit(flag, half_of(i), memory_order_relaxed);
}
