// Native kernels of the exact output head, over how an instruction set multiplies rows; see docs/exact_head.md.
//
// `Products` is made from (args, weight, x) and gives `full(row)`, the logit bit by bit as matmul_q8_split_r1 computes
// it, and `high(row)`, the part of the high nibbles.
#pragma once

#include "cpu/native/native.h"
#include "cpu/native/rectangles.h"
#include "cpu/native/weights.h"
#include "include/head_args.h"

namespace softmetal::cpu::native::FASTGO_ISA {

inline bool wants_some(std::uint32_t wanted, const HeadArgs& args) { return wanted != 0 && wanted <= args.groups; }

inline float sketch_product(const Planes& sketch, std::uint64_t row, std::uint32_t directions,
                            const float* projection) {
  float total = 0.0f;
  for (std::uint32_t begin = 0; begin < directions; begin += 32) {
    const auto* values = reinterpret_cast<const std::int8_t*>(sketch.low) + row * directions + begin;
    float floats[32];
    for (int j = 0; j < 32; j++) floats[j] = values[j];
    Vector sum = {};
    for (int j = 0; j < 32; j += width) sum += load(floats + j) * load(projection + begin + j);
    total += half_at(sketch.scales, (row * directions + begin) / 32) * horizontal_sum(sum);
  }
  return total;
}

template <typename Products>
void head_high(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  if (!wants_some(*static_cast<const std::uint32_t*>(launch.buffers[1]), args)) return;
  const Products products(args, launch.buffers[2], static_cast<const float*>(launch.buffers[5]));
  const Planes sketch(launch.buffers[3], args.sketch_planes);
  const auto* bounds = static_cast<const float*>(launch.buffers[4]);
  const auto* projection = static_cast<const float*>(launch.buffers[6]);
  const float reach = projection[args.directions + HEAD_REACH], slack = projection[args.directions + HEAD_SLACK];
  auto* upper = static_cast<float*>(launch.buffers[7]);
  for (std::uint64_t group = begin; group < end; group++) {
    float best = HEAD_NOT_FINISHED;
    auto first = static_cast<std::uint32_t>(group * HEAD_GROUP), best_row = first;
    const std::uint32_t last = smaller(first + HEAD_GROUP, args.vocab_size);
    for (std::uint32_t row = first; row < last; row++) {
      const float estimate = products.high(row) + sketch_product(sketch, row, args.directions, projection);
      upper[row] = estimate + (bounds[row] * reach + slack);
      if (estimate > best) {
        best = estimate;
        best_row = row;
      }
    }
    static_cast<float*>(launch.buffers[8])[group] = best;
    static_cast<std::uint32_t*>(launch.buffers[9])[group] = best_row;
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

#define FASTGO_HEAD_KERNELS(Products)                                                 \
  {"head_high", &head_high<Products>}, {"head_threshold", &head_threshold<Products>}, \
      {"head_finish", &head_finish<Products>},

}  // namespace softmetal::cpu::native::FASTGO_ISA
