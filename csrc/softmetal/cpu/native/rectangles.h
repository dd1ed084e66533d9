// Turns a linear range of a two-dimensional grid (x fastest) into at most three rectangles.
#pragma once

#include <cstdint>

#include "cpu/kernel_abi.h"

namespace softmetal::cpu::native::FASTGO_ISA {

// Calls visit(x_begin, x_end, y_begin, y_end).
template <typename Visit>
inline void for_each_rectangle(std::uint64_t begin, std::uint64_t end, std::uint32_t width_x, const Visit& visit) {
  while (begin < end) {
    const std::uint64_t x = begin % width_x, y = begin / width_x, left = end - begin;
    if (x == 0 && left >= width_x) {
      const std::uint64_t full = left / width_x;
      visit(0u, width_x, static_cast<std::uint32_t>(y), static_cast<std::uint32_t>(y + full));
      begin += full * width_x;
    } else {
      const std::uint64_t count = left < width_x - x ? left : width_x - x;
      visit(static_cast<std::uint32_t>(x), static_cast<std::uint32_t>(x + count), static_cast<std::uint32_t>(y),
            static_cast<std::uint32_t>(y + 1));
      begin += count;
    }
  }
}

inline std::uint32_t smaller(std::uint32_t a, std::uint32_t b) { return a < b ? a : b; }

}  // namespace softmetal::cpu::native::FASTGO_ISA
