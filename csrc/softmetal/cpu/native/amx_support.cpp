// Asks processor and kernel for AMX. Tile state is 8 KB, which Linux saves only for processes that have asked for it.
#include "cpu/native/amx_support.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#endif

namespace softmetal::cpu::native {

#if defined(__x86_64__)
namespace {

bool processor_has_tiles() {
  constexpr unsigned needed = 1u << 22 | 1u << 24 | 1u << 25;  // AMX-BF16, AMX-TILE, AMX-INT8
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & needed) == needed;
}

bool system_keeps_tiles() {
  constexpr unsigned os_uses_xsave = 1u << 27;
  constexpr std::uint32_t tile_state = 3u << 17;  // configuration and data
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & os_uses_xsave) == 0) return false;
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & tile_state) == tile_state;
}

bool kernel_grants_tiles() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;  // of <asm/prctl.h>, newer than some distributions
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
  return false;
#endif
}

}  // namespace

bool may_use_amx() { return processor_has_tiles() && system_keeps_tiles() && kernel_grants_tiles(); }
#else
bool may_use_amx() { return false; }
#endif

}  // namespace softmetal::cpu::native
