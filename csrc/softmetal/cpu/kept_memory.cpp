#include "softmetal/cpu/kept_memory.h"

#include <algorithm>

#include "softmetal/cpu/memory.h"

namespace softmetal::cpu {
namespace {

constexpr std::uint64_t chunk_length = 64 * 1024 * 1024;

}  // namespace

void KeptMemory::add_source(const void* pages, std::uint64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto address = reinterpret_cast<std::uintptr_t>(pages);
  forget(address, length);  // pages that lay here before may not have been removed yet
  sources_[address] = length;
}

void KeptMemory::remove_source(const void* pages) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = sources_.find(reinterpret_cast<std::uintptr_t>(pages));
  if (found == sources_.end()) return;
  // A program may be destroyed later than its buffers; other pages may then come to lie where these were.
  forget(found->first, found->second);
  sources_.erase(found);
}

// No program will find any more what was made of these pages.
void KeptMemory::forget(std::uintptr_t pages, std::uint64_t length) {
  kept_.erase(kept_.lower_bound({pages, 0}), kept_.lower_bound({pages + length, 0}));
}

std::shared_ptr<unsigned char> KeptMemory::find(const void* source, std::uint64_t length) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto address = reinterpret_cast<std::uintptr_t>(source);
  if (!is_unchanging(address)) return nullptr;
  const std::uint64_t used = drop_expired();
  const auto found = kept_.find({address, length});
  if (found != kept_.end()) return found->second.lock();
  if (length > most_ || used > most_ - length) return nullptr;
  std::shared_ptr<unsigned char> memory = allocate(length, used);
  if (memory) kept_[{address, length}] = memory;
  return memory;
}

std::uint64_t KeptMemory::made_of(const void* pages) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto source = sources_.find(reinterpret_cast<std::uintptr_t>(pages));
  if (source == sources_.end()) return 0;
  std::uint64_t bytes = 0;
  const auto end = kept_.lower_bound({source->first + source->second, 0});
  for (auto entry = kept_.lower_bound({source->first, 0}); entry != end; ++entry) {
    if (!entry->second.expired()) bytes += entry->first.second;
  }
  return bytes;
}

// Returns the bytes of what is still in use.
std::uint64_t KeptMemory::drop_expired() {
  std::uint64_t used = 0;
  for (auto entry = kept_.begin(); entry != kept_.end();) {
    if (entry->second.expired()) {
      entry = kept_.erase(entry);
    } else {
      used += entry->first.second;
      ++entry;
    }
  }
  return used;
}

// Whether at least as much stays free when that and all sources are in memory: to have to read weights from files again
// costs more than what is kept can save.
bool KeptMemory::has_room_for(std::uint64_t length) const {
  const std::uint64_t available = available_();
  std::uint64_t sources = 0;
  for (const auto& source : sources_) sources += source.second;
  return sources < available && length <= (available - sources) / 2;
}

// `used`: by all that is kept, of which some may not have been written yet.
std::shared_ptr<unsigned char> KeptMemory::allocate(std::uint64_t length, std::uint64_t used) {
  const std::uint64_t size = (length + 63) / 64 * 64;
  std::shared_ptr<Chunk> chunk = chunk_.lock();
  if (!chunk || size > chunk->length - chunk->used) {
    if (!has_room_for(used + std::max(size, chunk_length))) return nullptr;
    chunk = std::make_shared<Chunk>(std::max(size, chunk_length));
    if (!chunk->memory) return nullptr;
    chunk_ = chunk;
  }
  unsigned char* memory = chunk->memory + chunk->used;
  chunk->used += size;
  return {std::move(chunk), memory};
}

KeptMemory::Chunk::Chunk(std::uint64_t bytes)
    : length(bytes), memory(static_cast<unsigned char*>(allocate_memory(bytes))) {}

KeptMemory::Chunk::~Chunk() {
  if (memory) free_memory(memory, length);
}

bool KeptMemory::is_unchanging(std::uintptr_t source) const {
  auto after = sources_.upper_bound(source);
  if (after == sources_.begin()) return false;
  --after;
  return source - after->first < after->second;
}

}  // namespace softmetal::cpu
