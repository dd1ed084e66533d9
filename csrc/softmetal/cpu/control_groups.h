// What Linux's control groups, a container's for instance, leave of the machine to this process; versions 1 and 2.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace softmetal::cpu {

// Bytes; the largest number where no group sets a limit. What the system would take back from files counts as
// available.
struct GroupMemory {
  std::uint64_t limit = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t available = std::numeric_limits<std::uint64_t>::max();
};

// Of all groups around this process the narrowest. `root`: folder in which /proc and /sys lie.
GroupMemory group_memory(const std::string& root = "");

// Whole processors that the narrowest quota grants; 0 if there is none.
unsigned group_processors(const std::string& root = "");

}  // namespace softmetal::cpu
