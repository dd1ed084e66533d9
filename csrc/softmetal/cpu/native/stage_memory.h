// Memory in which a thread keeps what its pieces of one stage share, such as rounded inputs. Nobody writes what a stage
// reads while it runs.
#pragma once

#include <cstdint>
#include <cstdlib>

#include "cpu/native/native.h"
#include "cpu/stage.h"

namespace softmetal::cpu::native::FASTGO_ISA {

class StageMemory {
 public:
  StageMemory() = default;
  ~StageMemory() { std::free(memory_); }
  StageMemory(const StageMemory&) = delete;
  StageMemory& operator=(const StageMemory&) = delete;

  // Makes room for `bytes` made of `source`; whether they are yet to be made.
  bool is_new(const void* source, std::size_t bytes) {
    const std::uint64_t stage = running_stage();
    if (stage != 0 && stage == stage_ && source == source_ && bytes == bytes_) return false;
    if (bytes > size_) {
      std::free(memory_);
      size_ = (bytes + 63) / 64 * 64;
      memory_ = static_cast<unsigned char*>(std::aligned_alloc(64, size_));
      if (memory_ == nullptr) std::abort();
    }
    stage_ = stage;
    source_ = source;
    bytes_ = bytes;
    return true;
  }

  unsigned char* data() const { return memory_; }

 private:
  std::uint64_t stage_ = 0;
  const void* source_ = nullptr;
  std::size_t bytes_ = 0, size_ = 0;
  unsigned char* memory_ = nullptr;
};

}  // namespace softmetal::cpu::native::FASTGO_ISA
