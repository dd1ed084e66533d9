// Prefill's matrix products on AMX, every format but float32 rounded to bfloat16; see many_rows.h.
//
// Up to `few_rows` rows the integer products of few_rows.h, or the float kernel, which keep decode's fidelity.
#include "cpu/native/amx_tile.h"
#include "cpu/native/few_rows_amx.h"
#include "cpu/native/many_rows.h"

namespace softmetal::cpu::native::avx512 {
extern const NativeTable matmul_table;
}

namespace softmetal::cpu::native::FASTGO_ISA {
namespace {

// Rounded inputs lie as whole tiles: of each 16 rows, block after block of 32 columns, 16 rows of 64 bytes.
struct MatrixTiles {
  static std::size_t input_bytes(std::uint32_t rows, std::uint32_t pairs) {
    return std::size_t{whole_tiles(rows)} * (pairs / 16) * tile_bytes;
  }

  static std::uint32_t units(std::uint32_t rows) { return whole_tiles(rows); }
  static std::uint32_t whole(std::uint32_t rows) { return rows / tile_height * tile_height; }

  template <typename T>
  static void load_inputs(const T* x, std::uint32_t rows, std::uint32_t columns, std::uint32_t begin, std::uint32_t end,
                          unsigned char* inputs) {
    const std::uint32_t blocks = padded_pairs(columns) / 16;
    for (std::uint32_t m = begin * tile_height; m < end * tile_height; m++) {
      unsigned char* out = inputs + std::size_t{m / tile_height} * blocks * tile_bytes + m % tile_height * 64;
      for (std::uint32_t block = 0; block < blocks; block++) {
        const __m512i rounded =
            m < rows ? round_block(x + static_cast<std::size_t>(m) * columns, columns, block) : _mm512_setzero_si512();
        _mm512_store_si512(out + block * tile_bytes, rounded);
      }
    }
  }

  void multiply(const InputRows& inputs, std::uint32_t m, std::uint32_t rows, std::uint32_t pairs,
                const unsigned char* panel, const Results& results) const {
    const std::uint32_t blocks = pairs / 16;
    const std::size_t tile = blocks * tile_bytes;
    if (inputs.laid_out != nullptr) {
      const TileRows x{inputs.laid_out + m / tile_height * tile, 64, tile_bytes, tile};
      multiply_tiles_of(x, whole_tiles(rows), blocks, panel, results);
      return;
    }
    const std::size_t row = tile / tile_height;
    multiply_tiles_of({inputs.as_they_came + m * row, row, 64, tile}, rows / tile_height, blocks, panel, results);
    if (rows % tile_height == 0) return;
    const Results last{results.c + whole(rows) * results.row, results.row};
    multiply_tiles_of({inputs.last, 64, tile_bytes, tile}, 1, blocks, panel, last);
  }

 private:
  // Columns are cut so that a panel's part stays in the L1 cache while the rows stream past it.
  static void multiply_tiles_of(const TileRows& rows, std::uint32_t tiles, std::uint32_t blocks,
                                const unsigned char* panel, const Results& results) {
    const std::uint32_t cuts = (blocks + most_blocks - 1) / most_blocks;
    for (std::uint32_t cut = 0; cut < cuts; cut++) {
      const std::uint32_t block = blocks * cut / cuts, end = blocks * (cut + 1) / cuts;
      const TileRows x{rows.first + block * rows.block, rows.row, rows.block, rows.tile};
      const auto product = cut == 0 ? &multiply_all_tiles<false> : &multiply_all_tiles<true>;
      product(x, tiles, end - block, panel + std::size_t{block} * 2 * tile_bytes, results.c, results.row);
    }
  }

  static constexpr std::uint32_t most_blocks = 20;  // 40 KB of a panel
  const TileUnit unit;
};

RunRange float_kernel(const char* name) {
  for (std::size_t i = 0; i < avx512::matmul_table.count; i++) {
    if (std::strcmp(avx512::matmul_table.kernels[i].name, name) == 0) return avx512::matmul_table.kernels[i].run;
  }
  return nullptr;
}

// What multiplies a few rows.
template <typename Format>
struct FewRowsKernels {
  static RunRange plain() { return &matmul_few_tiles<Format>; }
  static RunRange glu() { return &matmul_glu_few_tiles<Format>; }
};

template <>
struct FewRowsKernels<BF16> {
  static RunRange plain() { return &matmul_many<BF16, MatrixTiles>; }
  static RunRange glu() { return &matmul_glu_many<BF16, MatrixTiles>; }
};

#define FASTGO_FLOAT_FEW_ROWS(name, Format)                                   \
  template <>                                                                 \
  struct FewRowsKernels<Format> {                                             \
    static RunRange plain() {                                                 \
      static const RunRange kernel = float_kernel("matmul_" #name "_r8");     \
      return kernel;                                                          \
    }                                                                         \
    static RunRange glu() {                                                   \
      static const RunRange kernel = float_kernel("matmul_glu_" #name "_r8"); \
      return kernel;                                                          \
    }                                                                         \
  };
FASTGO_FLOAT_FEW_ROWS(f16, F16)
FASTGO_FLOAT_FEW_ROWS(int8, Int8)
FASTGO_FLOAT_FEW_ROWS(int4, Int4)

template <typename Format>
void matmul_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = PlainProduct::args(launch).rows <= few_rows;
  (is_few ? FewRowsKernels<Format>::plain() : &matmul_many<Format, MatrixTiles>)(launch, begin, end);
}

template <typename Format>
void matmul_glu_rows(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const bool is_few = GatedProduct::args(launch).rows <= few_rows;
  (is_few ? FewRowsKernels<Format>::glu() : &matmul_glu_many<Format, MatrixTiles>)(launch, begin, end);
}

// The inputs of many rows. A thread makes those of a few rows by itself.
template <typename Product>
struct PreparedInputs {
  using Many = RoundedInputs<Product, MatrixTiles>;

  static std::uint64_t bytes(const Launch& launch) {
    return Product::args(launch).rows <= few_rows ? 0 : Many::bytes(launch);
  }
  static void run(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
    if (bytes(launch) != 0) Many::run(launch, begin, end);
  }
  static constexpr Preparation preparation{&bytes, &Many::units, &run, Product::x};
};

// What the products of a few rows keep of the buffers of weights.
template <typename Format>
struct KeptWeights {
  static constexpr Keeping plain{&few_kept_bytes<Format, PlainProduct>, 1, {1}};
  static constexpr Keeping glu{&few_kept_bytes<Format, GatedProduct>, 2, {1, 2}};
};

// What is given or asked for as bfloat16 comes by the names that the shaders' forms for many rows have.
#define FASTGO_AMX_SIDE(name, Format, side)                                                                          \
  {"matmul_" #name side, &matmul_many<Format, MatrixTiles>, &RoundedInputs<PlainProduct, MatrixTiles>::preparation}, \
      {"matmul_glu_" #name side, &matmul_glu_many<Format, MatrixTiles>,                                              \
       &RoundedInputs<GatedProduct, MatrixTiles>::preparation},
#define FASTGO_AMX_ROWS(name, Format, plain_keeping, glu_keeping)                                    \
  FASTGO_AMX_SIDE(name, Format, "_r64")                                                              \
  FASTGO_AMX_SIDE(name, Format, "_r128"){"matmul_" #name "_r8", &matmul_rows<Format>,                \
                                         &PreparedInputs<PlainProduct>::preparation, plain_keeping}, \
      {"matmul_glu_" #name "_r8", &matmul_glu_rows<Format>, &PreparedInputs<GatedProduct>::preparation, glu_keeping},
#define FASTGO_AMX_FLOATS(name, Format) FASTGO_AMX_ROWS(name, Format, nullptr, nullptr)
#define FASTGO_AMX_QUANTISED(name, Format) \
  FASTGO_AMX_ROWS(name, Format, &KeptWeights<Format>::plain, &KeptWeights<Format>::glu)

}  // namespace

extern const NativeKernel matmul_amx_kernels[] = {FASTGO_AMX_FLOATS(f16, F16) FASTGO_AMX_FLOATS(bf16, BF16)
                                                      FASTGO_AMX_FLOATS(int8, Int8) FASTGO_AMX_FLOATS(int4, Int4)
                                                          FASTGO_FOR_EACH_QUANTISED_FORMAT(FASTGO_AMX_QUANTISED)};
extern const NativeTable matmul_amx_table = {matmul_amx_kernels,
                                             sizeof(matmul_amx_kernels) / sizeof(matmul_amx_kernels[0])};

}  // namespace softmetal::cpu::native::FASTGO_ISA
