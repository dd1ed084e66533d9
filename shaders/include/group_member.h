// Which of the products of norm_matmul_group a tile belongs to. Each product begins with a tile of its own.
#pragma once

#include <metal_stdlib>

#include "matmul_args.h"
using namespace metal;

struct GroupMember {
  uint which;
  uint first_output;
  uint outputs;
};

inline GroupMember find_member(constant NormMatmulGroupArgs& args, uint first_output, uint tile_outputs) {
  uint second = (args.outputs[0] + tile_outputs - 1) / tile_outputs * tile_outputs;
  uint third = second + (args.outputs[1] + tile_outputs - 1) / tile_outputs * tile_outputs;
  uint which = uint(first_output >= second) + uint(first_output >= third);
  uint begin = which == 0 ? 0 : (which == 1 ? second : third);
  return {which, first_output - begin, args.outputs[which]};
}
