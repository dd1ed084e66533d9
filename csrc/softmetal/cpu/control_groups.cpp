// Reads the files of the groups that /proc/self/cgroup names.
#include "softmetal/cpu/control_groups.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <vector>

#include "softmetal/cpu/machine.h"

namespace softmetal::cpu {
namespace {

// Folders of this process's group of a controller and of those around it. A container may see its own group as the
// outermost one, under a path that is not there; folders that are missing have no limits.
std::vector<std::string> group_folders(const std::string& root, const std::string& controller) {
  std::vector<std::string> folders;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path; no controllers in version 2
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    std::string base = root + "/sys/fs/cgroup";
    if (controllers != ",,") {
      if (controllers.find("," + controller + ",") == std::string::npos) continue;
      base += "/" + controller;
    }
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      folders.push_back(base + path);
      if (path.find('/') == std::string::npos) break;
    }
  }
  return folders;
}

// Nothing where there is no such file or it says "max".
std::optional<std::uint64_t> number_in(const std::string& path) {
  const std::string line = first_line(path);
  char* end = nullptr;
  const std::uint64_t number = std::strtoull(line.c_str(), &end, 10);
  return end != line.c_str() ? std::optional(number) : std::nullopt;
}

// How the two versions name what they say of memory: files, and entries of memory.stat.
struct MemoryNames {
  const char *limit, *usage, *inactive_files, *active_files;
};
constexpr MemoryNames memory_names[] = {
    {"/memory.max", "/memory.current", "inactive_file", "active_file"},
    {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file", "total_active_file"},
};

std::uint64_t bytes_of_files(const std::string& folder, const MemoryNames& names) {
  std::ifstream file(folder + "/memory.stat");
  std::uint64_t sum = 0;
  for (std::string line; std::getline(file, line);) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string entry = line.substr(0, space);
    if (entry != names.inactive_files && entry != names.active_files) continue;
    sum += std::strtoull(line.c_str() + space, nullptr, 10);
  }
  return sum;
}

std::uint64_t difference(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// A quota's processors; 0 where `quota` is missing or -1.
double processors(const std::string& quota, const std::string& period) {
  const double time = std::strtod(quota.c_str(), nullptr), of = std::strtod(period.c_str(), nullptr);
  return time > 0 && of > 0 ? time / of : 0;
}

}  // namespace

GroupMemory group_memory(const std::string& root) {
  GroupMemory narrowest;
  for (const std::string& folder : group_folders(root, "memory")) {
    for (const MemoryNames& names : memory_names) {
      const std::optional<std::uint64_t> limit = number_in(folder + names.limit);
      if (!limit) continue;
      narrowest.limit = std::min(narrowest.limit, *limit);
      const std::uint64_t usage = number_in(folder + names.usage).value_or(0);
      const std::uint64_t available = difference(*limit, difference(usage, bytes_of_files(folder, names)));
      narrowest.available = std::min(narrowest.available, available);
    }
  }
  return narrowest;
}

unsigned group_processors(const std::string& root) {
  constexpr double most = 4096;
  double narrowest = 0;
  for (const std::string& folder : group_folders(root, "cpu")) {
    const std::string both = first_line(folder + "/cpu.max");
    const double granted[] = {
        processors(both, both.substr(std::min(both.find(' '), both.size()))),
        processors(first_line(folder + "/cpu.cfs_quota_us"), first_line(folder + "/cpu.cfs_period_us"))};
    for (const double count : granted) {
      if (count > 0) narrowest = narrowest > 0 ? std::min(narrowest, count) : count;
    }
  }
  return narrowest > 0 ? static_cast<unsigned>(std::max(1.0, std::min(most, narrowest + 0.5))) : 0;
}

}  // namespace softmetal::cpu
