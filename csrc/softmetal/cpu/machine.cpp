// Reads the topology and the limits of this process from Linux.
#include "softmetal/cpu/machine.h"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

namespace softmetal::cpu {
namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Distinct cores among the processors of the affinity mask.
unsigned cores_of_mask() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return std::thread::hardware_concurrency();
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string name = std::to_string(cpu);
    const std::string siblings = first_line("/sys/devices/system/cpu/cpu" + name + "/topology/thread_siblings_list");
    cores.insert(siblings.empty() ? "cpu" + name : siblings);
  }
  return static_cast<unsigned>(cores.size());
}

// Whole processors that the container's quota grants; 0 if there is no quota.
unsigned quota() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double limit = 0, period = 0;
  if (!(file >> limit >> period) || period <= 0) return 0;  // "max 100000" fails at the first number
  return static_cast<unsigned>(std::max(1.0, std::min(4096.0, limit / period + 0.5)));
}

}  // namespace

unsigned physical_cores() {
  unsigned cores = std::max(1u, cores_of_mask());
  if (const unsigned allowed = quota()) cores = std::min(cores, allowed);
  return cores;
}

std::uint64_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  return pages > 0 ? static_cast<std::uint64_t>(pages) * page_size() : 0;
}

std::uint64_t page_size() { return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)); }

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  utsname system{};
  return uname(&system) == 0 ? system.machine : "CPU";
}

}  // namespace softmetal::cpu
