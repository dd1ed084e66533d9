// The float16 that stands for the step between integers of a group: never below it, so that integers reach far enough.
#pragma once

#include <metal_stdlib>
using namespace metal;

inline half half_scale(float step) {
  float reachable = min(step, 65504.0f);
  half nearest = half(reachable);
  return float(nearest) < reachable ? as_type<half>(ushort(as_type<ushort>(nearest) + 1)) : nearest;
}
