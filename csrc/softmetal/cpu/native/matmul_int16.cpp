// Decode's matrix-vector products by integer dot products of weights with 16-bit activations: AVX2, NEON with dot
// products of bytes. int16_*.h say how an instruction set holds a block and multiplies it.
//
// Inputs are quantised once a call, a scale for each block of 32; a block's sum becomes a float once.
#include "cpu/native/activation.h"
#include "cpu/native/finish.h"
#include "cpu/native/head.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/matmul_args.h"
#if defined(__AVX2__)
#include "cpu/native/int16_avx2.h"
#else
#include "cpu/native/int16_dotprod.h"
#endif

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// By block.
struct Inputs {
  BlockInputs* integers;
  float* scales;
  float* sums;  // of the inputs
};

std::size_t inputs_bytes(std::uint32_t blocks) { return blocks * (sizeof(BlockInputs) + 2 * sizeof(float)); }

Inputs quantise(const float* x, std::uint32_t blocks, unsigned char* memory) {
  Inputs in;
  in.integers = reinterpret_cast<BlockInputs*>(memory);
  in.scales = reinterpret_cast<float*>(in.integers + blocks);
  in.sums = in.scales + blocks;
  for (std::uint32_t b = 0; b < blocks; b++) {
    const float* block = x + b * block_weights;
    float largest = 0.0f;
    for (std::uint32_t j = 0; j < block_weights; j++) {
      const float magnitude = __builtin_fabsf(block[j]);
      largest = magnitude > largest || magnitude != magnitude ? magnitude : largest;  // keeps a NaN
    }
    const float inverse = largest > 0.0f ? largest_input / largest : 0.0f;
    in.scales[b] = largest / largest_input;
    std::int32_t sum = 0;
    for (std::uint32_t j = 0; j < block_weights; j++) {
      const auto q = inverse > 0.0f ? static_cast<std::int32_t>(__builtin_rintf(block[j] * inverse)) : 0;
      in.integers[b].set(j, q);
      sum += q;
    }
    in.sums[b] = in.scales[b] * static_cast<float>(sum);
  }
  return in;
}

template <typename Format>
struct Integers {
  static Halves load(const Planes& p, std::uint64_t block) { return load_nibbles(p.low, block); }
};
template <>
struct Integers<Q8_0> {
  static Halves load(const Planes& p, std::uint64_t block) { return load_bytes(p.low, block); }
};
struct FiveBits {
  static Halves load(const Planes& p, std::uint64_t block) {
    return add_high_bits(load_nibbles(p.low, block), word_at(p.high, block), 16);
  }
};
template <>
struct Integers<Q5_0> : FiveBits {};
template <>
struct Integers<Q5_1> : FiveBits {};
template <>
struct Integers<Q5_K> : FiveBits {};
template <>
struct Integers<Q6_K> {
  static Halves load(const Planes& p, std::uint64_t block) {
    const Halves q = add_high_bits(load_nibbles(p.low, block), word_at(p.high, block * 2), 16);
    return add_high_bits(q, word_at(p.high, block * 2 + 1), 32);
  }
};

template <typename Format>
Halves load_signed(const Planes& p, std::uint64_t block) {
  const Halves q = Integers<Format>::load(p, block);
  return Format::zero == 0 ? q : subtract(q, Format::zero);
}

// Formats whose weights are scale * (q - zero) and nothing more.
template <typename Format>
constexpr bool is_symmetric = Format::zero != 0;
template <>
constexpr bool is_symmetric<Q8_0> = true;

inline Vector scaled(IntVector terms, float scale) { return __builtin_convertvector(terms, Vector) * scale; }

template <typename Format>
struct RowProduct {
  // Never inlined, so that every caller gets the same bits.
  [[gnu::noinline]] static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    Vector sums = {};
    float shifts = 0.0f;
    for (std::uint32_t b = 0; b < blocks; b++) {
      const std::uint64_t index = row * blocks + b;
      const Affine affine = Format::affine(p, index);
      sums += scaled(products(load_signed<Format>(p, index), in.integers[b]), affine.scale * in.scales[b]);
      if constexpr (!is_symmetric<Format>) shifts += affine.shift * in.sums[b];
    }
    return horizontal_sum(sums) + shifts;
  }
};

template <>
struct RowProduct<Q6_K> {
  static float run(const Planes& p, std::uint64_t row, std::uint32_t blocks, const Inputs& in) {
    Vector sums = {};
    for (std::uint32_t b = 0; b < blocks; b++) {
      const std::uint64_t index = row * blocks + b;
      const Halves q = load_signed<Q6_K>(p, index);
      sums += scaled(products(q.first, in.integers[b], 0), Q6_K::scale(p, index, 0) * in.scales[b]);
      sums += scaled(products(q.last, in.integers[b], 1), Q6_K::scale(p, index, 1) * in.scales[b]);
    }
    return horizontal_sum(sums);
  }
};

template <typename Format>
void matmul_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulArgs*>(launch.buffers[0]);
  const Planes planes(launch.buffers[1], args.planes);
  auto* y = static_cast<float*>(launch.buffers[3]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[2]), blocks, scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  const auto first = smaller(static_cast<std::uint32_t>(begin * group_outputs), last);
  for (std::uint32_t n = first; n < last; n++) y[n] = RowProduct<Format>::run(planes, n, blocks, in);
  const Finish finish(launch);
  finish(y + first, first, last);
}

template <typename Format>
void matmul_glu_vector(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const MatmulGluArgs*>(launch.buffers[0]);
  const Planes gate_planes(launch.buffers[1], args.gate_planes);
  const Planes up_planes(launch.buffers[2], args.up_planes);
  auto* y = static_cast<float*>(launch.buffers[4]);
  const std::uint32_t blocks = args.columns / block_weights;
  const Inputs in = quantise(static_cast<const float*>(launch.buffers[3]), blocks, scratch(inputs_bytes(blocks)));
  const std::uint64_t group_outputs = GLU_VECTOR_OUTPUTS * launch.threads_per_threadgroup.x / 32;
  const auto last = smaller(static_cast<std::uint32_t>(end * group_outputs), args.outputs);
  for (auto n = static_cast<std::uint32_t>(begin * group_outputs); n < last; n++) {
    const float gate = RowProduct<Format>::run(gate_planes, n, blocks, in);
    y[n] = activate(args.activation, gate) * RowProduct<Format>::run(up_planes, n, blocks, in);
  }
}

class HeadProducts {
 public:
  HeadProducts(const HeadArgs& args, const void* weight, const float* x, std::size_t extra_bytes = 0)
      : planes_(weight, args.planes), blocks_(args.columns / block_weights) {
    unsigned char* memory = scratch(extra_bytes + inputs_bytes(blocks_));
    extra_ = memory;
    inputs_ = quantise(x, blocks_, memory + extra_bytes);
  }
  void full(const std::uint32_t* rows, std::uint32_t count, float* logits) const {
    for (std::uint32_t i = 0; i < count; i++) logits[i] = RowProduct<Q8_0>::run(planes_, rows[i], blocks_, inputs_);
  }
  void all(std::uint32_t begin, std::uint32_t end, float* logits) const {
    for (std::uint32_t row = begin; row < end; row++)
      logits[row - begin] = RowProduct<Q8_0>::run(planes_, row, blocks_, inputs_);
  }
  unsigned char* extra() const { return extra_; }

 private:
  Planes planes_;
  std::uint32_t blocks_;
  unsigned char* extra_;
  Inputs inputs_;
};

#define FASTGO_INT16_ROWS(name, Format) \
  {"matmul_" #name "_r1", &matmul_vector<Format>}, {"matmul_glu_" #name "_r1", &matmul_glu_vector<Format>},

}  // namespace

extern const NativeKernel matmul_int16_kernels[] = {FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_INT16_ROWS)
                                                        FASTGO_HEAD_KERNELS(HeadProducts)};
extern const NativeTable matmul_int16_table = {matmul_int16_kernels,
                                               sizeof(matmul_int16_kernels) / sizeof(matmul_int16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
