// Zeroed host memory for buffers and heaps.
#pragma once

#include <cstdint>

namespace softmetal::cpu {

// Null if there is not enough. Aligned to placement_alignment at least, large ones to a page and backed by huge pages
// where the system has them.
void* allocate_memory(std::uint64_t length);

// `length` as given to allocate_memory.
void free_memory(void* pointer, std::uint64_t length);

}  // namespace softmetal::cpu
