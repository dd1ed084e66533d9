// Runs translated kernels for the tests: a C interface over compiled shaders, with Metal's dispatchThreads grids.
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "softmetal/cpu/fibre.h"
#include "softmetal/cpu/kernel_abi.h"

extern const softmetal::cpu::CompiledShader compiled_collectives;
extern const softmetal::cpu::CompiledShader compiled_dialect;
extern const softmetal::cpu::CompiledShader compiled_language;

namespace {

using softmetal::cpu::Size3;

std::string fault;

void keep_fault(const char* message) { fault = message; }

const softmetal::cpu::Kernel* find(const std::string& name) {
  for (const auto* shader : {&compiled_collectives, &compiled_dialect, &compiled_language}) {
    for (std::uint32_t i = 0; i < shader->file->kernel_count; i++) {
      if (name == shader->file->kernels[i].name) return &shader->kernels[i];
    }
  }
  return nullptr;
}

std::uint32_t groups(std::uint32_t grid, std::uint32_t group) { return (grid + group - 1) / group; }

std::uint32_t part(std::uint32_t grid, std::uint32_t group, std::uint32_t position) {
  const std::uint32_t left = grid - position * group;
  return left < group ? left : group;
}

}  // namespace

// Constants: `count` values of 16 bytes and as many flags. Returns 0 done, 1 no such kernel, 2 fault (see last_fault).
extern "C" int run_kernel(const char* name, void* const* buffers, const std::uint32_t* grid, const std::uint32_t* group,
                          const std::uint32_t* threadgroup_memory, const unsigned char* constants,
                          const std::uint8_t* defined, std::uint32_t count) {
  const softmetal::cpu::Kernel* kernel = find(name);
  if (kernel == nullptr) return 1;
  fault.clear();
  softmetal::cpu::set_fault_handler(&keep_fault);
  std::vector<softmetal::cpu::ConstantValue> values(count);
  for (std::uint32_t i = 0; i < count; i++) {
    values[i].defined = defined[i] != 0;
    std::memcpy(values[i].bytes, constants + i * 16, 16);
  }
  const Size3 total = {grid[0], grid[1], grid[2]}, threads = {group[0], group[1], group[2]};
  const Size3 counts = {groups(total.x, threads.x), groups(total.y, threads.y), groups(total.z, threads.z)};
  const softmetal::cpu::Launch launch = {buffers, total, counts, threads, threadgroup_memory, values.data()};
  for (std::uint32_t z = 0; z < counts.z; z++) {
    for (std::uint32_t y = 0; y < counts.y; y++) {
      for (std::uint32_t x = 0; x < counts.x; x++) {
        kernel->run(launch, {{x, y, z},
                             {part(total.x, threads.x, x), part(total.y, threads.y, y), part(total.z, threads.z, z)}});
      }
    }
  }
  return fault.empty() ? 0 : 2;
}

extern "C" const char* last_fault() { return fault.c_str(); }

extern "C" std::uint32_t static_memory(const char* name) { return find(name)->static_threadgroup_memory; }

extern "C" int uses_fibres(const char* name) { return find(name)->uses_fibres ? 1 : 0; }
