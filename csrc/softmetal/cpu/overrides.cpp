// The list of native kernels, and the choice among them when a pipeline is made.
#include "softmetal/cpu/overrides.h"

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
  RunRange run;
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
  for (const Override& candidate : r.overrides) {
    if (candidate.isa == isa) return candidate.rank;
  }
  if (!r.warned) std::fprintf(stderr, "softmetal: FASTGO_CPU_ISA=%s ignored: no kernel has that name\n", isa.c_str());
  r.warned = true;
  return no_limit;
}

}  // namespace

void register_override(const char* kernel_name, const char* isa, int rank, bool (*supported)(), RunRange run) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  r.overrides.push_back({kernel_name, isa, rank, supported, run});
}

RunRange choose_override(const char* kernel_name, const Environment& environment) {
  if (!environment.cpu_overrides) return nullptr;
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const int limit = rank_limit(r, environment.cpu_isa);
  const Override* best = nullptr;
  for (const Override& candidate : r.overrides) {
    const bool usable = candidate.kernel_name == kernel_name && candidate.rank <= limit && candidate.supported();
    if (usable && (!best || candidate.rank > best->rank)) best = &candidate;
  }
  return best ? best->run : nullptr;
}

}  // namespace softmetal::cpu
