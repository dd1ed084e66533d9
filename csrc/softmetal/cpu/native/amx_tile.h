// Products of bfloat16 on AMX: tiles of 16 rows x 32 columns of inputs times tiles of 32 columns x 16 outputs.
//
// Weights lie as bf16_tile.h's panels, of which each side of 16 outputs is a tile's second operand as it stands. The
// unit wants whole tiles: rows are padded to 16 of them, columns with zeros to 32.
#pragma once

#include "cpu/native/bf16_tile.h"
#include "cpu/native/rectangles.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t tile_height = 16;
constexpr std::size_t tile_bytes = 1024;

inline std::uint32_t whole_tiles(std::uint32_t rows) { return (rows + tile_height - 1) / tile_height; }

// To be called between what fills memory and the tile loads that read it: GCC 12's intrinsics do not tell the compiler
// that they read more than a pointer's worth, so that it may drop or delay what was stored.
inline void finish_stores(const void* memory = nullptr) { __asm__ volatile("" : : "r"(memory) : "memory"); }

// Configures the tiles for as long as it lives: sums in 0 to 3, left operands of 16 rows of `left_bytes` in 4 and 5,
// right operands of `right_rows` rows in 6 and 7; whatever isn't given is 16 rows of 64 bytes.
class TileUnit {
 public:
  explicit TileUnit(std::uint16_t left_bytes = 64, std::uint8_t right_rows = tile_height) {
    struct alignas(64) {
      std::uint8_t palette, start_row, reserved[14];
      std::uint16_t row_bytes[16];
      std::uint8_t rows[16];
    } config = {};
    static_assert(sizeof config == 64, "the layout that the instruction reads");
    config.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
      config.row_bytes[tile] = tile == 4 || tile == 5 ? left_bytes : 64;
      config.rows[tile] = tile >= 6 ? right_rows : tile_height;
    }
    finish_stores(&config);
    _tile_loadconfig(&config);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

// Rows of bfloat16 as the unit reads them, 16 x 64 bytes at a time; distances in bytes.
struct TileRows {
  const unsigned char* first;
  std::size_t row, block, tile;  // from a row to the next, from 32 columns to the next, from 16 rows to the next

  TileRows from(std::uint32_t tiles) const { return {first + tiles * tile, row, block, tile}; }
};

// Rows are loaded as a stream, which leaves the panel in the L1 cache.
// c (16 * height, 32 outputs) = or += one or two tiles of rows . panel
template <int height, bool adds>
inline void multiply_tiles(const TileRows& rows, std::uint32_t blocks, const unsigned char* panel, float* c,
                           std::size_t c_stride) {
  constexpr int panel_stride = panel_outputs * 4;
  const std::size_t stride = c_stride * sizeof(float);
  float* lower = c + tile_height * c_stride;
  finish_stores();
  if (adds) {
    _tile_loadd(0, c, stride);
    _tile_loadd(1, c + 16, stride);
    if (height == 2) _tile_loadd(2, lower, stride);
    if (height == 2) _tile_loadd(3, lower + 16, stride);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if (height == 2) _tile_zero(2);
    if (height == 2) _tile_zero(3);
  }
  for (std::uint32_t block = 0; block < blocks; block++) {
    const unsigned char* x = rows.first + block * rows.block;
    const unsigned char* weights = panel + std::size_t{block} * tile_height * panel_stride;
    _tile_stream_loadd(4, x, rows.row);
    _tile_loadd(6, weights, panel_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weights + 64, panel_stride);
    _tile_dpbf16ps(1, 4, 7);
    if (height == 2) _tile_stream_loadd(5, x + rows.tile, rows.row);
    if (height == 2) _tile_dpbf16ps(2, 5, 6);
    if (height == 2) _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, stride);
  _tile_stored(1, c + 16, stride);
  if (height == 2) _tile_stored(2, lower, stride);
  if (height == 2) _tile_stored(3, lower + 16, stride);
}

// The same for any number of row tiles.
template <bool adds>
inline void multiply_all_tiles(const TileRows& rows, std::uint32_t tiles, std::uint32_t blocks,
                               const unsigned char* panel, float* c, std::size_t c_stride) {
  std::uint32_t t = 0;
  for (; t + 2 <= tiles; t += 2) {
    multiply_tiles<2, adds>(rows.from(t), blocks, panel, c + t * tile_height * c_stride, c_stride);
  }
  if (t < tiles) multiply_tiles<1, adds>(rows.from(t), blocks, panel, c + t * tile_height * c_stride, c_stride);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
