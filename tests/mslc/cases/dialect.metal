// Constructs of other projects' shaders, each in a kernel of its own.
#include <metal_simdgroup>
#include <metal_stdlib>
using namespace metal;

// Arms of a conditional that are of different types, one of them 16 bits wide; numbers, nested and as arguments.
kernel void conditionals(device const half* h [[buffer(0)]], device const float* f [[buffer(1)]],
                         device float* y [[buffer(2)]], device const bfloat* b [[buffer(3)]],
                         uint i [[thread_position_in_grid]]) {
  const float first = f[i] > 0 ? h[i] : f[i];
  const float second = f[i] > 0 ? f[i] * 0.5f : h[i];
  const half third = f[i] > 1 ? h[i] : f[i] > 0 ? 2.0f : 0;
  const float fourth = max(i < 2 ? b[i] : f[i], i > 2 ? 1.0h : f[0]);
  device const float* p = i > 100 ? f : 0;
  const int count = vec<int, true ? 2 : 3>(7).x;
  y[i] = first + 10 * second + 100 * float(third) + 1000 * fourth + (p ? 1 : 0) + count;
}

// 16 bits to integers, without a word.
kernel void half_to_integers(device const half* h [[buffer(0)]], device int* y [[buffer(1)]],
                             uint i [[thread_position_in_grid]]) {
  int whole = h[i];
  uchar small = h[i] * 2.0h;
  y[i] = whole * 1000 + small;
}

typedef struct {
  __extension__ union {
    struct {
      half d;
      half m;
    };
    half2 dm;
  };
  uint8_t quants[4];
} Block;

kernel void unnamed(device Block* blocks [[buffer(0)]], device float* y [[buffer(1)]],
                    uint i [[thread_position_in_grid]]) {
  device Block& block = blocks[i];
  device const half* scale = &block.d;
  y[i] = block.d * block.quants[1] - block.m + float(block.dm.y) + max(block.d, block.m) + scale[1];
  block.m = block.d * 2;
}

#define ROWS 3
kernel void ranges(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float sums[ROWS] = {[0 ... ROWS - 1] = 1.5f};
  int table[2][4] = {[0 ... 1] = {[0 ... 3] = 7}};
  sums[i % ROWS] += i;
  y[i] = sums[0] + sums[1] + sums[2] + table[1][3] + table[0][0];
}

template <typename T, int N>
struct Params {
  T values[N];
};

// An array as a parameter; instantiations that leave the template's arguments to the parameters.
template <typename T, int N>
[[kernel]] void deduced(const device T* x [[buffer(0)]], device T* y [[buffer(1)]],
                        const constant Params<int, N>* params [[buffer(2)]],
                        constant const int strides[2] [[buffer(3)]], uint i [[thread_position_in_grid]]) {
  y[i] = x[i] + T(params->values[N - 1] * strides[1]);
}
#define instantiate(name, type, n)                                                                      \
  template [[host_name("deduced_" #name "_" #n)]] [[kernel]] void deduced(                              \
      const device type* x [[buffer(0)]], device type* y [[buffer(1)]],                                 \
      const constant Params<int, n>* params [[buffer(2)]], constant const int strides[2] [[buffer(3)]], \
      uint i [[thread_position_in_grid]]);
instantiate(float, float, 2) instantiate(int, int, 3)

    // Threadgroup memory that starts as zeros, in every group anew.
    kernel void zeroed(device int* y [[buffer(0)]], uint i [[thread_position_in_grid]],
                       uint local [[thread_index_in_threadgroup]]) {
  threadgroup int counts[4] = {0};
  threadgroup int total = 0;
  if (local < 2) {
    counts[local] = int(i) + 1;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (local == 5) {
    total = total + counts[0] + counts[1] + counts[2] + counts[3];
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = total;
}

class Counter {
 public:
  Counter() thread = default;
  Counter() threadgroup = default;
  Counter() device = default;
  int count;
};

struct Complex {
  float real, imaginary;
  constexpr Complex(float x) : real(x), imaginary(0) {}
};
inline float twice(float x) { return 2 * x; }
inline Complex twice(Complex x) { return x; }

struct Mask {
  char x;
  constexpr operator bool() const { return true; }
};

template <typename T>
struct Pair {
  T first, second;
};
template <typename T>
struct _numeric_limits_impl<Pair<T>> {
  static constexpr Pair<T> max() { return Pair<T>{numeric_limits<T>::max(), 5}; }
};

extern "C" kernel void library(volatile coherent(system) device uint* n [[buffer(0)]], device float* y [[buffer(1)]],
                               uint i [[thread_position_in_grid]]) {
  assert(i < 100);
  half h;
  h = Mask{1};
  uint4 v = {1, 2, n[0]};
  float2x2 m(float2(1, 2), float2(3, 4));
  m += m;
  m *= 0.5f;
  atomic_thread_fence(mem_flags::mem_device, memory_order_seq_cst, thread_scope_device);
  y[0] = twice(h) + float(v.z + v.w) + m[1].x;
  y[1] = divide(6.0f, 4.0f) + fast::divide(1.0f, 2.0f) + __metal_fabs(-8.0f, __METAL_MAYBE_FAST_MATH__);
  y[2] = numeric_limits<Pair<int>>::max().second;
}

// A library function for another type, as MLX adds them.
typedef bfloat bfloat16_t;
namespace metal {
METAL_FUNC bfloat16_t ldexp(bfloat16_t x, int k) {
  return static_cast<bfloat>(__metal_ldexp(static_cast<float>(x), k, 0));
}
METAL_FUNC bfloat simd_sum(bfloat x) { return static_cast<bfloat>(__metal_simd_sum(static_cast<float>(x))); }
}  // namespace metal

kernel void extended(device const bfloat* x [[buffer(0)]], device float* y [[buffer(1)]],
                     uint i [[thread_position_in_grid]]) {
  y[i] = simd_sum(ldexp(x[i], 2));
}

// A kernel with the name of a library function, which it calls.
kernel void abs(device const float4* x [[buffer(0)]], device float* y [[buffer(1)]],
                uint i [[thread_position_in_grid]]) {
  y[i] = dot(abs(x[i]), 1) + dot(0.5f, x[i]);
}

// Threadgroup memory that asks for an alignment, of sizes that are known only behind a loop.
kernel void late_sizes(device int* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  int sum = 0;
  for (int k = 0; k < 3; k++) {
    sum += k;
  }
  constexpr uint rows = 2 * 2;
  constexpr uint columns = 3;
  threadgroup int tile[rows][columns] __attribute__((aligned(64)));
  if (i == 0) {
    for (uint k = 0; k < rows * columns; k++) {
      tile[k / columns][k % columns] = int(k) + sum;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] = tile[i / columns][i % columns];
}

// Blocks that give one name to different sizes.
kernel void nested_sizes(device float* y [[buffer(0)]], uint i [[thread_index_in_threadgroup]]) {
  constexpr uint SIZE = 2;
  threadgroup float pair[SIZE];
  {
    constexpr uint SIZE = 8, HALF = SIZE / 2;
    threadgroup float small[HALF][2];
    small[i % HALF][i / HALF] = y[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[i] = small[i % HALF][1 - i / HALF];
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  {
    constexpr uint SIZE = 32;
    threadgroup float large[SIZE];
    large[i * 4] = y[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
    y[i] += 10 * large[SIZE - 4 - i * 4];
  }
  if (i < SIZE) {
    pair[i] = i + 1;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  y[i] += 100 * pair[SIZE - 1];
}

#define UNROLLED _Pragma("clang loop unroll(full)")

// Loops with a wish how to compile them.
kernel void unrolled(device float* y [[buffer(0)]], uint i [[thread_position_in_grid]]) {
  float sum = 0;
#pragma unroll
  for (uint k = 0; k < 4; k++) sum += k;
#pragma unroll(2)
  for (uint k = 0; k < i; k++) {
    sum += 10;
  }
  UNROLLED for (uint k = 0; k < 3; k++) { sum += 100; }
#pragma clang loop unroll(disable)
  for (uint k = 0; k < 2; k++) sum += 1000;
  y[i] = sum;
}
