// Memory for setBytes: filled while a command buffer records, recycled when it has completed.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "softmetal/driver.h"

namespace softmetal {

// Chunks of device memory that the host can write, kept for reuse.
class BytesPool {
 public:
  static constexpr std::uint64_t chunk_size = 32 * 1024;

  explicit BytesPool(Driver& driver) : driver_(driver) {}

  bool take(Memory* chunk);
  void give_back(const Memory& chunk);

 private:
  Driver& driver_;
  std::mutex mutex_;
  std::vector<Memory> free_;
};

class BytesArena {
 public:
  explicit BytesArena(BytesPool& pool) : pool_(pool) {}
  ~BytesArena() { clear(); }

  // The device's address of a copy of `bytes`; 0 if there is no memory. `length` is at most a chunk.
  std::uint64_t store(const void* bytes, std::uint64_t length);
  void clear();

 private:
  BytesPool& pool_;
  std::vector<Memory> chunks_;
  std::uint64_t used_ = 0;  // of the last chunk
};

}  // namespace softmetal
