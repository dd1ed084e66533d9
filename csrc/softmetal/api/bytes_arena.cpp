// Chunks for setBytes and how they are filled.
#include "softmetal/api/bytes_arena.h"

#include <algorithm>
#include <cstring>

namespace softmetal {

bool BytesPool::take(Memory* chunk) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!free_.empty()) {
      *chunk = free_.back();
      free_.pop_back();
      return true;
    }
  }
  return driver_.allocate(chunk_size, Storage::shared, chunk);
}

void BytesPool::give_back(const Memory& chunk) {
  std::lock_guard<std::mutex> lock(mutex_);
  free_.push_back(chunk);
}

std::uint64_t BytesArena::store(const void* bytes, std::uint64_t length) {
  if (chunks_.empty() || length > BytesPool::chunk_size - used_) {
    Memory chunk;
    if (length > BytesPool::chunk_size || !pool_.take(&chunk)) return 0;
    chunks_.push_back(chunk);
    used_ = 0;
  }
  const Memory& chunk = chunks_.back();
  std::memcpy(static_cast<char*>(chunk.host) + used_, bytes, length);
  const std::uint64_t address = chunk.address + used_;
  const std::uint64_t aligned = (length + placement_alignment - 1) / placement_alignment * placement_alignment;
  used_ = std::min(BytesPool::chunk_size, used_ + aligned);
  return address;
}

void BytesArena::clear() {
  for (const Memory& chunk : chunks_) pool_.give_back(chunk);
  chunks_.clear();
}

}  // namespace softmetal
