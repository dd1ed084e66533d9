// Small allocations come from malloc, large ones straight from the kernel, which zeroes pages only when touched.
#include "softmetal/cpu/memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <limits>

#include "softmetal/cpu/machine.h"
#include "softmetal/driver.h"

namespace softmetal::cpu {
namespace {

#if defined(__SANITIZE_ADDRESS__)
// malloc's red zones find kernels that read past a buffer.
constexpr std::uint64_t map_threshold = std::numeric_limits<std::uint64_t>::max();
#else
constexpr std::uint64_t map_threshold = 64 * 1024;
#endif
constexpr std::uint64_t huge_page_threshold = 4 * 1024 * 1024;

std::uint64_t mapped_length(std::uint64_t length) { return (length + page_size() - 1) / page_size() * page_size(); }

void* map_pages(std::uint64_t length) {
  const std::uint64_t size = mapped_length(length);
  void* pointer = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pointer == MAP_FAILED) return nullptr;
  if (size >= huge_page_threshold) madvise(pointer, size, MADV_HUGEPAGE);  // advice: failing is no error
  return pointer;
}

}  // namespace

void* allocate_memory(std::uint64_t length) {
  if (length >= map_threshold) return map_pages(length);
  void* pointer = nullptr;
  if (posix_memalign(&pointer, placement_alignment, length) != 0) return nullptr;
  std::memset(pointer, 0, length);
  return pointer;
}

void free_memory(void* pointer, std::uint64_t length) {
  if (length >= map_threshold) {
    munmap(pointer, mapped_length(length));
  } else {
    std::free(pointer);
  }
}

}  // namespace softmetal::cpu
