// Memory in which native kernels keep what they made of buffers that do not change (Keeping in kernel_abi.h).
//
// Only pages that the caller lent to the device count as unchanging: files of weights that were mapped. Programs that
// keep something of the same buffer share it; it is given back when the last of them is gone. Sizes in bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace softmetal::cpu {

class KeptMemory {
 public:
  // `most`: what all that is kept at one time may take. `available`: asks what the machine has left.
  KeptMemory(std::uint64_t most, std::uint64_t (*available)()) : most_(most), available_(available) {}

  // Pages whose content stays as it is until they are removed.
  void add_source(const void* pages, std::uint64_t length);
  void remove_source(const void* pages);

  // Memory for what is made of `source`, zeroed when it is new, aligned to 64; null if the source may change or there
  // is not enough.
  std::shared_ptr<unsigned char> find(const void* source, std::uint64_t length);

  // What is kept of these pages.
  std::uint64_t made_of(const void* pages);

 private:
  using Key = std::pair<std::uintptr_t, std::uint64_t>;  // source, length

  // Memory is taken in large pieces, which the system backs with huge pages; unused, they take none.
  struct Chunk {
    explicit Chunk(std::uint64_t length);
    ~Chunk();
    Chunk(const Chunk&) = delete;
    Chunk& operator=(const Chunk&) = delete;

    const std::uint64_t length;
    unsigned char* const memory;  // null if there was not enough
    std::uint64_t used = 0;
  };

  bool is_unchanging(std::uintptr_t source) const;
  void forget(std::uintptr_t pages, std::uint64_t length);
  std::uint64_t drop_expired();
  bool has_room_for(std::uint64_t length) const;
  std::shared_ptr<unsigned char> allocate(std::uint64_t length, std::uint64_t used);

  const std::uint64_t most_;
  std::uint64_t (*const available_)();
  std::mutex mutex_;
  std::map<std::uintptr_t, std::uint64_t> sources_;  // lengths
  std::map<Key, std::weak_ptr<unsigned char>> kept_;
  std::weak_ptr<Chunk> chunk_;  // the one that is filled
};

}  // namespace softmetal::cpu
