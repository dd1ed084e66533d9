// Finds dispatches that touch the same bytes, one of them writing, with nothing that orders them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "softmetal/api/dispatch.h"

namespace softmetal::validation {

// The accesses since the last barrier. What a kernel reads and writes follows from its reflection; a pointer may reach
// to the end of its buffer, a reference only to the end of what it refers to.
class HazardTracker {
 public:
  // Everything before is finished.
  void barrier() { accesses_.clear(); }

  // Everything before that touched these bytes is finished.
  void barrier(std::uint64_t address, std::uint64_t length);

  // Adds a dispatch; returns with what it clashes, or "".
  std::string add(const DispatchState& state);

 private:
  struct Access {
    std::uint64_t begin, end;  // addresses
    bool writes;
    const ComputePipelineStateImpl* pipeline;
    const fastgo::ArgumentReflection* argument;
  };

  std::vector<Access> accesses_;
};

}  // namespace softmetal::validation
