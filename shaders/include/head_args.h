// Arguments of the exact output head's kernels, for shaders and for native kernels of the same name.
#pragma once

#ifndef __METAL_VERSION__
#include <cstdint>
using uint = std::uint32_t;
#endif

struct HeadArgs {
  uint vocab_size;
  uint columns;
  uint directions;  // of the sketch, a multiple of 32
  uint groups;      // of HEAD_GROUP rows
  uint planes[6];
  uint sketch_planes[6];
};

enum HeadSizes : uint { HEAD_GROUP = 256, HEAD_SIMDGROUPS = 8 };

// What head_project leaves after the `directions` coordinates, and what follows their weights in `norms`.
enum HeadReach : uint { HEAD_REACH = 0, HEAD_SLACK = 1, HEAD_REACH_VALUES = 2 };
enum HeadNorms : uint { HEAD_REST_WEIGHT = 0, HEAD_REACH_ERROR = 1, HEAD_ROUNDING = 2, HEAD_NORM_VALUES = 3 };

#define HEAD_NOT_FINISHED (-3.0e38f)  // the logit of a row that can't be among the wanted; LOWEST_SCORE of sampling
