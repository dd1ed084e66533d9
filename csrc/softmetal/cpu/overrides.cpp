// The list of native kernels, and the choice among them when a pipeline is made.
#include "softmetal/cpu/overrides.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

namespace softmetal::cpu {
namespace {

struct Override {
  std::string kernel_name;
  std::string isa;
  int rank;
  bool (*supported)();
  ChosenOverride chosen;
};

struct Registry {
  std::mutex mutex;
  std::vector<Override> overrides;
  bool warned = false;
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

// The highest rank that FASTGO_CPU_ISA allows.
int rank_limit(Registry& r, const std::string& isa) {
  constexpr int no_limit = std::numeric_limits<int>::max();
  if (isa.empty()) return no_limit;
  int limit = std::numeric_limits<int>::min();
  for (const Override& candidate : r.overrides) {
    if (candidate.isa == isa) limit = std::max(limit, candidate.rank);
  }
  if (limit != std::numeric_limits<int>::min()) return limit;
  if (!r.warned) std::fprintf(stderr, "softmetal: FASTGO_CPU_ISA=%s ignored: no kernel has that name\n", isa.c_str());
  r.warned = true;
  return no_limit;
}

}  // namespace

void register_override(const char* kernel_name, const char* isa, int rank, bool (*supported)(),
                       const ChosenOverride& kernel) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  r.overrides.push_back({kernel_name, isa, rank, supported, kernel});
}

namespace {

// The usable override of the highest rank; of any kernel if `kernel_name` is null.
const Override* find_best(Registry& r, const char* kernel_name, const Environment& environment) {
  const int limit = rank_limit(r, environment.cpu_isa);
  const Override* best = nullptr;
  for (const Override& candidate : r.overrides) {
    const bool wanted = kernel_name == nullptr || candidate.kernel_name == kernel_name;
    const bool usable = wanted && candidate.rank <= limit && candidate.supported();
    if (usable && (!best || candidate.rank > best->rank)) best = &candidate;
  }
  return best;
}

}  // namespace

ChosenOverride choose_override(const char* kernel_name, const Environment& environment) {
  if (!environment.cpu_overrides) return {};
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const Override* best = find_best(r, kernel_name, environment);
  return best ? best->chosen : ChosenOverride{};
}

std::string kernel_set_name(const Environment& environment) {
  if (!environment.cpu_overrides) return "msl";
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const Override* best = find_best(r, nullptr, environment);
  return best ? best->isa : "msl";
}

}  // namespace softmetal::cpu
