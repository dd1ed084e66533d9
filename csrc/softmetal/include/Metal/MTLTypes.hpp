// Plain value types of the Metal API.
#pragma once

#include <cstdint>

#include "Foundation/Foundation.hpp"

using CFTimeInterval = double;  // seconds

namespace MTL {

using GPUAddress = std::uint64_t;

struct Size {
  Size() = default;
  Size(NS::UInteger width_, NS::UInteger height_, NS::UInteger depth_)
      : width(width_), height(height_), depth(depth_) {}
  static Size Make(NS::UInteger width, NS::UInteger height, NS::UInteger depth) { return Size(width, height, depth); }

  NS::UInteger width;
  NS::UInteger height;
  NS::UInteger depth;
} __attribute__((packed));

struct SizeAndAlign {
  NS::UInteger size;
  NS::UInteger align;
} __attribute__((packed));

}  // namespace MTL
