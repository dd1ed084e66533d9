// Products of bfloat16 on AMX: tiles of 16 rows x 32 columns of inputs times tiles of 32 columns x 16 outputs.
//
// Inputs lie as whole tiles: of each 16 rows, block after block of 32 columns, 16 rows of 64 bytes. Weights lie as
// bf16_tile.h's panels, of which each side of 16 outputs is a tile's second operand as it stands.
#pragma once

#include "cpu/native/bf16_tile.h"
#include "cpu/native/rectangles.h"

namespace softmetal::cpu::native::FASTGO_ISA {

constexpr std::uint32_t tile_rows = 16;
constexpr std::size_t tile_bytes = 1024;

// Configures all eight tiles as 16 rows of 64 bytes for as long as it lives.
class TileUnit {
 public:
  TileUnit() {
    struct alignas(64) {
      std::uint8_t palette, start_row, reserved[14];
      std::uint16_t row_bytes[16];
      std::uint8_t rows[16];
    } config = {};
    static_assert(sizeof config == 64, "the layout that the instruction reads");
    config.palette = 1;
    for (int tile = 0; tile < 8; tile++) {
      config.row_bytes[tile] = 64;
      config.rows[tile] = tile_rows;
    }
    _tile_loadconfig(&config);
  }
  ~TileUnit() { _tile_release(); }
  TileUnit(const TileUnit&) = delete;
  TileUnit& operator=(const TileUnit&) = delete;
};

// c (32 rows, 32 outputs) = two neighbouring row tiles . panel; `next` bytes lie between the tiles of the two.
inline void multiply_tiles(const unsigned char* inputs, std::size_t next, std::uint32_t blocks,
                           const unsigned char* panel, float* c, std::size_t c_stride) {
  constexpr int panel_stride = panel_outputs * 4;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::uint32_t block = 0; block < blocks; block++) {
    const unsigned char* x = inputs + block * tile_bytes;
    const unsigned char* weights = panel + std::size_t{block} * tile_rows * panel_stride;
    _tile_loadd(4, x, 64);
    _tile_loadd(6, weights, panel_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weights + 64, panel_stride);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, x + next, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  const std::size_t stride = c_stride * sizeof(float);
  _tile_stored(0, c, stride);
  _tile_stored(1, c + 16, stride);
  _tile_stored(2, c + tile_rows * c_stride, stride);
  _tile_stored(3, c + tile_rows * c_stride + 16, stride);
}

// The same for one row tile.
inline void multiply_tile(const unsigned char* inputs, std::uint32_t blocks, const unsigned char* panel, float* c,
                          std::size_t c_stride) {
  constexpr int panel_stride = panel_outputs * 4;
  _tile_zero(0);
  _tile_zero(1);
  for (std::uint32_t block = 0; block < blocks; block++) {
    const unsigned char* weights = panel + std::size_t{block} * tile_rows * panel_stride;
    _tile_loadd(4, inputs + block * tile_bytes, 64);
    _tile_loadd(6, weights, panel_stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, weights + 64, panel_stride);
    _tile_dpbf16ps(1, 4, 7);
  }
  const std::size_t stride = c_stride * sizeof(float);
  _tile_stored(0, c, stride);
  _tile_stored(1, c + 16, stride);
}

}  // namespace softmetal::cpu::native::FASTGO_ISA
