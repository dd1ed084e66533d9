// Native kernels of the exact output head, over how an instruction set multiplies rows; see docs/exact_head.md.
//
// `Products` is made from (args, weight, x) and gives logits bit by bit as matmul_q8_0_r1 computes them: full(rows,
// count, logits) those of a list of rows, all(begin, end, logits) those of a range.
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

// The best estimate of a group's rows so far, and its row, for each place in a tile.
struct GroupBest {
  Vector scores[head_rows / width];
  IntVector rows[head_rows / width];

  void start(std::uint32_t first) {
    for (Vector& score : scores) score = broadcast(HEAD_NOT_FINISHED);
    for (IntVector& row : rows) row = IntVector{} + static_cast<std::int32_t>(first);
  }

  void add(const float* estimates, std::uint32_t row) {
    for (int part = 0; part < head_rows / width; part++) {
      const Vector estimate = load(estimates + part * width);
      IntVector here;
      for (int lane = 0; lane < width; lane++) here[lane] = static_cast<std::int32_t>(row) + part * width + lane;
      const IntVector is_better = estimate > scores[part];
      scores[part] = select(is_better, estimate, scores[part]);
      rows[part] = (is_better & here) | (~is_better & rows[part]);
    }
  }

  void store_best(float* score, std::uint32_t* row) const {
    *score = scores[0][0];
    *row = static_cast<std::uint32_t>(rows[0][0]);
    for (int r = 1; r < head_rows; r++) {
      if (scores[r / width][r % width] > *score) {
        *score = scores[r / width][r % width];
        *row = static_cast<std::uint32_t>(rows[r / width][r % width]);
      }
    }
  }
};

// Pass one over some groups at once.
template <int groups>
void estimate_groups(const Launch& launch, const TileInputs& inputs, const std::uint32_t* group) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  const auto* tiles = static_cast<const unsigned char*>(launch.buffers[2]);
  const auto* projection = static_cast<const float*>(launch.buffers[4]);
  const Vector reach = broadcast(projection[args.directions + HEAD_REACH]);
  const Vector slack = broadcast(projection[args.directions + HEAD_SLACK]);
  const std::size_t tile_nbytes = head_tile_nbytes(args.columns, args.directions);
  const std::uint32_t bounds = head_tile_bounds(args.columns, args.directions);
  auto* upper = static_cast<float*>(launch.buffers[5]);
  GroupBest best[groups];
  for (int g = 0; g < groups; g++) best[g].start(group[g] * HEAD_GROUP);
  // Only a last group may have fewer rows, and it comes alone.
  const std::uint32_t rows = smaller(HEAD_GROUP, args.vocab_size - group[0] * HEAD_GROUP);
  for (std::uint32_t row = 0; row < rows; row += head_rows) {
    const unsigned char* tile[groups];
    alignas(64) float estimates[groups][head_rows];
    for (int g = 0; g < groups; g++) tile[g] = tiles + (group[g] * HEAD_GROUP + row) / head_rows * tile_nbytes;
    inputs.estimates<groups>(tile, estimates);
    for (int g = 0; g < groups; g++) {
      const std::uint32_t first = group[g] * HEAD_GROUP + row;
      for (int r = 0; r < head_rows; r += width) {
        float lengths[width];
        std::memcpy(lengths, tile[g] + bounds + r * 4, sizeof lengths);
        store(upper + first + r, load(estimates[g] + r) + (load(lengths) * reach + slack));
      }
      for (std::uint32_t r = rows - row; r < head_rows; r++) estimates[g][r] = HEAD_NOT_FINISHED;
      best[g].add(estimates[g], first);
    }
  }
  for (int g = 0; g < groups; g++) {
    best[g].store_best(static_cast<float*>(launch.buffers[6]) + group[g],
                       static_cast<std::uint32_t*>(launch.buffers[7]) + group[g]);
  }
}

inline void head_high(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  if (!wants_some(*static_cast<const std::uint32_t*>(launch.buffers[1]), args)) return;
  const TileInputs inputs(args, static_cast<const float*>(launch.buffers[3]),
                          static_cast<const float*>(launch.buffers[4]));
  constexpr std::uint32_t together = 4;
  const std::uint32_t first = static_cast<std::uint32_t>(begin), last = static_cast<std::uint32_t>(end);
  const std::uint32_t whole = smaller(last, args.vocab_size / HEAD_GROUP);
  const std::uint32_t stretch = whole > first ? (whole - first) / together : 0;
  for (std::uint32_t i = 0; i < stretch; i++) {
    std::uint32_t groups[together];
    for (std::uint32_t g = 0; g < together; g++) groups[g] = first + g * stretch + i;
    estimate_groups<together>(launch, inputs, groups);
  }
  for (std::uint32_t group = first + together * stretch; group < last; group++) {
    estimate_groups<1>(launch, inputs, &group);
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
    float logit;
    products.full(static_cast<const std::uint32_t*>(launch.buffers[5]) + order[i], 1, &logit);
    least = logit < least ? logit : least;
  }
  *threshold = least;
}

// Computes the rows that are left, some at a time.
template <typename Products>
class RowsLeft {
 public:
  RowsLeft(const Products& products, float* logits) : products_(products), logits_(logits) {}

  void add(std::uint32_t row) {
    rows_[count_++] = row;
    if (count_ == most) finish();
  }

  void finish() {
    float out[most];
    products_.full(rows_, count_, out);
    for (std::uint32_t i = 0; i < count_; i++) logits_[rows_[i]] = out[i];
    count_ = 0;
  }

 private:
  static constexpr std::uint32_t most = 64;
  const Products& products_;
  float* logits_;
  std::uint32_t rows_[most];
  std::uint32_t count_ = 0;
};

template <typename Products>
void head_finish(const Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto& args = *static_cast<const HeadArgs*>(launch.buffers[0]);
  const Products products(args, launch.buffers[1], static_cast<const float*>(launch.buffers[2]));
  const auto* upper = static_cast<const float*>(launch.buffers[3]);
  const float threshold = *static_cast<const float*>(launch.buffers[4]);
  auto* logits = static_cast<float*>(launch.buffers[5]);
  const auto first = static_cast<std::uint32_t>(begin * HEAD_GROUP);
  const auto last = smaller(static_cast<std::uint32_t>(end * HEAD_GROUP), args.vocab_size);
  if (!(threshold > HEAD_NOT_FINISHED)) {
    products.all(first, last, logits + first);
    return;
  }
  RowsLeft<Products> left(products, logits);
  const Vector not_finished = broadcast(HEAD_NOT_FINISHED);
  for (std::uint32_t row = first; row < last; row += width) {
    const std::uint32_t present = smaller(width, last - row);
    // A NaN is finished, and shows. Bounds reach to the end of a group, logits don't.
    const IntVector is_out = load(upper + row) < threshold;
    std::memcpy(logits + row, &not_finished, present * sizeof(float));
    if (!any(~is_out)) continue;
    for (std::uint32_t lane = 0; lane < present; lane++) {
      if (is_out[lane] == 0) left.add(row + lane);
    }
  }
  left.finish();
}

#define FASTGO_HEAD_KERNELS(Products)                                                                        \
  {"head_project", &head_project}, {"head_high", &head_high}, {"head_threshold", &head_threshold<Products>}, \
      {"head_finish", &head_finish<Products>},

}  // namespace softmetal::cpu::native::FASTGO_ISA
