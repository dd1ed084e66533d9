// Prefill's matrix products on AVX-512 BF16: weights and inputs rounded to bfloat16, sums in float32; see many_rows.h.
//
// Rounding costs a KL divergence of about 1e-4 on small models, so float32 weights keep the float kernel.
#include "cpu/native/few_rows.h"
#include "cpu/native/many_rows.h"

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// Rounded inputs lie row after row.
struct DotProducts {
  static std::size_t input_bytes(std::uint32_t rows, std::uint32_t pairs) {
    return static_cast<std::size_t>(rows) * pairs * 4;
  }

  static std::uint32_t units(std::uint32_t rows) { return rows; }
  static std::uint32_t whole(std::uint32_t rows) { return rows; }

  template <typename T>
  static void load_inputs(const T* x, std::uint32_t, std::uint32_t columns, std::uint32_t begin, std::uint32_t end,
                          unsigned char* inputs) {
    const std::uint32_t blocks = padded_pairs(columns) / 16;
    for (std::uint32_t m = begin; m < end; m++) {
      for (std::uint32_t block = 0; block < blocks; block++) {
        _mm512_storeu_si512(inputs + (static_cast<std::size_t>(m) * blocks + block) * 64,
                            round_block(x + static_cast<std::size_t>(m) * columns, columns, block));
      }
    }
  }

  void multiply(const InputRows& inputs, std::uint32_t m, std::uint32_t rows, std::uint32_t pairs,
                const unsigned char* panel, const Results& results) const {
    const std::size_t stride = static_cast<std::size_t>(pairs) * 4;
    const unsigned char* rounded = inputs.laid_out != nullptr ? inputs.laid_out : inputs.as_they_came;
    multiply_rows(rounded + m * stride, stride, rows, pairs, panel, results.c, results.row);
  }
};

template <typename Format>
void matmul_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = PlainProduct::args(launch).rows <= few_rows;
  (is_few ? &matmul_few<Format> : &matmul_many<Format, DotProducts>)(launch, begin, end);
}

template <typename Format>
void matmul_glu_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = GatedProduct::args(launch).rows <= few_rows;
  (is_few ? &matmul_glu_few<Format> : &matmul_glu_many<Format, DotProducts>)(launch, begin, end);
}

// Inputs and gated outputs that are bfloat16 come by the names that the shaders' forms for many rows have.
#define FASTGO_BF16_MANY(name, Format)                                     \
  {"matmul_" #name "_r64", &matmul_many<Format, DotProducts>},             \
      {"matmul_" #name "_r128", &matmul_many<Format, DotProducts>},        \
      {"matmul_glu_" #name "_r64", &matmul_glu_many<Format, DotProducts>}, \
      {"matmul_glu_" #name "_r128", &matmul_glu_many<Format, DotProducts>},
#define FASTGO_BF16_ROWS(name, Format)                                         \
  FASTGO_BF16_MANY(name, Format){"matmul_" #name "_r8", &matmul_rows<Format>}, \
      {"matmul_glu_" #name "_r8", &matmul_glu_rows<Format>},

}  // namespace

extern const NativeKernel matmul_bf16_kernels[] = {
    FASTGO_BF16_MANY(f16, F16) FASTGO_BF16_MANY(bf16, BF16) FASTGO_BF16_MANY(int8, Int8)
        FASTGO_BF16_MANY(int4, Int4){"matmul_bf16_r8", &matmul_many<BF16, DotProducts>},
    {"matmul_glu_bf16_r8", &matmul_glu_many<BF16, DotProducts>},
    FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_BF16_ROWS)};
extern const NativeTable matmul_bf16_table = {matmul_bf16_kernels,
                                              sizeof(matmul_bf16_kernels) / sizeof(matmul_bf16_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
