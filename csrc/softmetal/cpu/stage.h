// Which stage of a program the calling thread runs, so that a kernel can keep what several pieces of a stage need.
#pragma once

#include <cstdint>

namespace softmetal::cpu {

// Counts up with each stage that a pool runs; a thread belongs to one pool. 0 outside of stages.
std::uint64_t running_stage();

}  // namespace softmetal::cpu
