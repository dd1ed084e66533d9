// Overlaps of byte ranges among unordered dispatches.
#include "softmetal/validation/hazards.h"

#include <algorithm>

namespace softmetal::validation {

void HazardTracker::barrier(std::uint64_t address, std::uint64_t length) {
  const auto touched = [&](const Access& access) { return access.begin < address + length && address < access.end; };
  accesses_.erase(std::remove_if(accesses_.begin(), accesses_.end(), touched), accesses_.end());
}

std::string HazardTracker::add(const DispatchState& state) {
  const fastgo::KernelReflection& kernel = state.pipeline->reflection();
  const std::size_t earlier = accesses_.size();
  for (std::uint32_t i = 0; i < kernel.argument_count; ++i) {
    const fastgo::ArgumentReflection& argument = kernel.arguments[i];
    if (argument.kind != fastgo::ArgumentKind::buffer) continue;
    const Binding& binding = state.buffers[argument.index];
    if (!binding.buffer) continue;
    const std::uint64_t length = argument.is_reference ? argument.pointee_size : binding.available;
    const bool writes = argument.access == fastgo::Access::read_write;
    const Access access{binding.address, binding.address + length, writes, state.pipeline, &argument};
    for (std::size_t a = 0; a < earlier; ++a) {
      const Access& other = accesses_[a];
      if (access.begin >= other.end || other.begin >= access.end || !(writes || other.writes)) continue;
      return describe_argument(*state.pipeline, argument) + " in buffer " + describe(binding.buffer) +
             (writes ? " writes what " : " reads what ") + describe_argument(*other.pipeline, *other.argument) +
             (other.writes ? " writes" : " reads") + " with no barrier between them";
    }
    accesses_.push_back(access);
  }
  return "";
}

}  // namespace softmetal::validation
