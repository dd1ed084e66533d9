// Native kernels of the exact output head, over how an instruction set multiplies rows; see docs/exact_head.md.
//
// `Products` is made from (args, weight, x) and gives `full(row)`, the logit bit by bit as matmul_q8_0_r1 computes it.
#pragma once

#include "cpu/native/head_tile.h"
#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/head_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

inline bool wants_some(std::uint32_t wanted, const HeadArgs& args) { return wanted != 0 && wanted <= args.groups; }

inline float head_dot(const float* a, const float* b, std::uint32_t columns) {
  Vector sum = {};
  for (std::uint32_t j = 0; j < columns; j += width) sum += load(a + j) * load(b + j);
  return horizontal_sum(sum);
}

inline void head_project(const Launch& launch, std::uint64_t, std::uint64_t) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  const auto* basis = static_cast<const float*>(launch.buffers[1]);
  const auto* norms = static_cast<const float*>(launch.buffers[2]);
  const auto* x = static_cast<const float*>(launch.buffers[3]);
  auto* projection = static_cast<float*>(launch.buffers[4]);
  const float length = head_dot(x, x, args.columns);
  float squares = 0.0f, reach = 0.0f;
  for (std::uint32_t d = 0; d < args.directions; d++) {
    const float y = head_dot(basis + static_cast<std::size_t>(d) * args.columns, x, args.columns);
    projection[d] = y;
    squares += y * y;
    reach += y * y * norms[d];
  }
  const float* last = norms + args.directions;
  // Written so that a NaN stays.
  const float rest = (length < squares ? 0.0f : length - squares) + 1e-4f * length;
  reach = 1.001f * __builtin_sqrtf(reach + rest * last[HEAD_REST_WEIGHT]);
  projection[args.directions + HEAD_REACH] = reach + __builtin_sqrtf(length) * last[HEAD_REACH_ERROR];
  projection[args.directions + HEAD_SLACK] = __builtin_sqrtf(length) * last[HEAD_ROUNDING];
}

inline void head_high(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  if (!wants_some(*static_cast<const std::uint32_t*>(launch.buffers[1]), args)) return;
  const auto* tiles = static_cast<const unsigned char*>(launch.buffers[2]);
  const auto* projection = static_cast<const float*>(launch.buffers[4]);
  const TileInputs inputs(args, static_cast<const float*>(launch.buffers[3]), projection);
  const float reach = projection[args.directions + HEAD_REACH], slack = projection[args.directions + HEAD_SLACK];
  const std::size_t tile_nbytes = head_tile_nbytes(args.columns, args.directions);
  const std::uint32_t bounds = head_tile_bounds(args.columns, args.directions);
  auto* upper = static_cast<float*>(launch.buffers[5]);
  for (std::uint64_t group = begin; group < end; group++) {
    float best[head_rows];
    std::uint32_t best_rows[head_rows];
    const auto first = static_cast<std::uint32_t>(group * HEAD_GROUP);
    for (std::uint32_t r = 0; r < head_rows; r++) {
      best[r] = HEAD_NOT_FINISHED;
      best_rows[r] = first;
    }
    const std::uint32_t last = smaller(first + HEAD_GROUP, args.vocab_size);
    for (std::uint32_t row = first; row < last; row += head_rows) {
      const unsigned char* tile = tiles + row / head_rows * tile_nbytes;
      float estimates[head_rows];
      inputs.estimates(tile, estimates);
      for (int r = 0; r < head_rows; r += width) {
        float lengths[width];
        std::memcpy(lengths, tile + bounds + r * 4, sizeof lengths);
        store(upper + row + r, load(estimates + r) + (load(lengths) * reach + slack));
      }
      const std::uint32_t present = smaller(head_rows, last - row);
      for (std::uint32_t r = 0; r < present; r++) {
        const bool is_better = estimates[r] > best[r];
        best[r] = is_better ? estimates[r] : best[r];
        best_rows[r] = is_better ? row + r : best_rows[r];
      }
    }
    for (std::uint32_t r = 1; r < head_rows; r++) {
      if (best[r] > best[0]) {
        best[0] = best[r];
        best_rows[0] = best_rows[r];
      }
    }
    static_cast<float*>(launch.buffers[6])[group] = best[0];
    static_cast<std::uint32_t*>(launch.buffers[7])[group] = best_rows[0];
  }
}

// Partly sorts, so that the `count` largest come first; quickselect with the middle as pivot.
inline void select_largest(const float* scores, std::uint32_t* order, std::uint32_t size, std::uint32_t count) {
  std::uint32_t low = 0, high = size;
  while (high - low > 1) {
    const float pivot = scores[order[low + (high - low) / 2]];
    std::uint32_t above = low, below = high;
    for (std::uint32_t i = low; i < below;) {
      const std::uint32_t item = order[i];
      if (scores[item] > pivot) {
        order[i++] = order[above];
        order[above++] = item;
      } else if (scores[item] < pivot) {
        order[i] = order[--below];
        order[below] = item;
      } else {
        i++;
      }
    }
    if (count < above) {
      high = above;
    } else if (count > below) {
      low = below;
    } else {
      return;
    }
  }
}

template <typename Products>
void head_threshold(const Launch& launch, std::uint64_t, std::uint64_t) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  const std::uint32_t wanted = *static_cast<const std::uint32_t*>(launch.buffers[1]);
  auto* threshold = static_cast<float*>(launch.buffers[6]);
  *threshold = HEAD_NOT_FINISHED;
  if (!wants_some(wanted, args)) return;
  const std::size_t order_bytes = (args.groups * sizeof(std::uint32_t) + 63) / 64 * 64;
  const Products products(args, launch.buffers[2], static_cast<const float*>(launch.buffers[3]), order_bytes);
  auto* order = reinterpret_cast<std::uint32_t*>(products.extra());
  for (std::uint32_t i = 0; i < args.groups; i++) order[i] = i;
  select_largest(static_cast<const float*>(launch.buffers[4]), order, args.groups, wanted);
  float least = -HEAD_NOT_FINISHED;
  for (std::uint32_t i = 0; i < wanted; i++) {
    const float logit = products.full(static_cast<const std::uint32_t*>(launch.buffers[5])[order[i]]);
    least = logit < least ? logit : least;
  }
  *threshold = least;
}

template <typename Products>
void head_finish(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  const Products products(args, launch.buffers[1], static_cast<const float*>(launch.buffers[2]));
  const auto* upper = static_cast<const float*>(launch.buffers[3]);
  const float threshold = *static_cast<const float*>(launch.buffers[4]);
  auto* logits = static_cast<float*>(launch.buffers[5]);
  const auto last = smaller(static_cast<std::uint32_t>(end * HEAD_GROUP), args.vocab_size);
  for (auto row = static_cast<std::uint32_t>(begin * HEAD_GROUP); row < last; row++) {
    // Written so that a NaN is finished, and shows.
    const bool is_out = threshold > HEAD_NOT_FINISHED && upper[row] < threshold;
    logits[row] = is_out ? HEAD_NOT_FINISHED : products.full(row);
  }
}

#define FASTGO_HEAD_KERNELS(Products)                                                                        \
  {"head_project", &head_project}, {"head_high", &head_high}, {"head_threshold", &head_threshold<Products>}, \
      {"head_finish", &head_finish<Products>},

}  // namespace softmetal::cpu::native::FASTGO_ISA
