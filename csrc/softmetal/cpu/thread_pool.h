// Persistent threads that run programs together.
//
// A region is a list of programs run as one parallel section. Threads claim pieces with a compare-and-swap on a counter
// per thread (their own first, then what others have left), and a stage is over when all its pieces are, so that a
// thread that the system has taken off its core holds up nobody who has work. Between stages there is no lock and no
// system call unless a wait gets long.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "softmetal/cpu/fault.h"
#include "softmetal/cpu/program.h"
#include "softmetal/cpu/spin.h"

namespace softmetal::cpu {

class ThreadPool {
 public:
  // `threads` counts the thread that calls run().
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();

  unsigned size() const { return threads_; }

  // Runs the programs one after the other and returns when all is done. One caller at a time.
  void run(const std::vector<const CpuProgram*>& programs, FaultSink& faults);

 private:
  struct Region {
    const std::vector<const CpuProgram*>* programs;
    FaultSink* faults;
    std::uint64_t first_piece;  // value of done_ at the start
    std::uint64_t first_stage;  // number of the first stage since the pool began
  };

  // The stage that a thread's pieces are claimed from, and how many of them: stage << 16 | count.
  struct alignas(64) Claims {
    std::atomic<std::uint64_t> word{0};
  };

  void work(unsigned thread);
  void run_region(const Region& region, unsigned thread);
  std::uint64_t run_stage(const CpuProgram& program, std::uint32_t stage, std::uint64_t number, unsigned thread,
                          FaultSink& faults);
  bool claim(unsigned owner, std::uint64_t stage_number, std::uint32_t available, std::uint32_t* index);
  void wait_for(std::uint64_t pieces_done);

  const unsigned threads_;
  std::unique_ptr<Claims[]> claims_;

  alignas(64) std::atomic<std::uint64_t> done_{0};  // pieces finished since the pool began
  alignas(64) std::atomic<const Region*> region_{nullptr};
  std::atomic<std::uint64_t> region_count_{0};
  std::atomic<unsigned> inside_{0};  // workers that may be reading region_
  std::atomic<bool> stopping_{false};
  std::uint64_t next_stage_ = 1;
  Parking parking_;
  std::vector<std::thread> workers_;
};

}  // namespace softmetal::cpu
