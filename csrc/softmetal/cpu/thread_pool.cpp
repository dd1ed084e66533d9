// Claims, stages and regions of the thread pool.
#include "softmetal/cpu/thread_pool.h"

#include "softmetal/cpu/stage.h"

namespace softmetal::cpu {
namespace {

thread_local std::uint64_t stage_of_thread = 0;

constexpr unsigned claim_bits = 16;
constexpr std::uint64_t claim_mask = (1u << claim_bits) - 1;
static_assert(max_pieces_per_thread < claim_mask, "a claim counter must not reach the stage number");

// Longer than the pause between two submissions of a busy host, short enough to leave an idle machine alone.
constexpr std::chrono::microseconds idle_spin{50};
constexpr std::chrono::microseconds idle_yield{0};

// A stage that takes longer to end is either long, or waits for a thread that has lost its core: then yielding helps.
constexpr std::chrono::microseconds stage_spin{20};
constexpr std::chrono::microseconds stage_yield{500};

}  // namespace

std::uint64_t running_stage() { return stage_of_thread; }

ThreadPool::ThreadPool(unsigned threads) : threads_(threads), claims_(new Claims[threads]) {
  for (unsigned t = 1; t < threads; ++t) workers_.emplace_back([this, t] { work(t); });
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  region_count_.fetch_add(1);
  parking_.wake();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(const std::vector<const CpuProgram*>& programs, FaultSink& faults) {
  Region region{&programs, &faults, done_.load(), next_stage_};
  std::uint64_t pieces = 0;
  bool parallel = false;
  for (const CpuProgram* program : programs) {
    next_stage_ += program->stage_count();
    pieces += program->piece_count();
    parallel |= program->is_parallel();
  }
  if (parallel && threads_ > 1) {
    region_.store(&region);
    region_count_.fetch_add(1);
    parking_.wake();
  }
  run_region(region, 0);
  wait_for(region.first_piece + pieces);
  // A worker that is late may still be looking at the region: it counted itself in before it read the pointer.
  region_.store(nullptr);
  while (inside_.load() != 0) {
    if (!spin_until([this] { return inside_.load() == 0; }, stage_spin)) std::this_thread::yield();
  }
}

void ThreadPool::work(unsigned thread) {
  std::uint64_t seen = 0;
  while (!stopping_.load()) {
    parking_.wait([&] { return region_count_.load() != seen; }, idle_spin, idle_yield);
    seen = region_count_.load();
    inside_.fetch_add(1);
    if (const Region* region = region_.load()) run_region(*region, thread);
    inside_.fetch_sub(1);
  }
}

void ThreadPool::run_region(const Region& region, unsigned thread) {
  std::uint64_t pieces = region.first_piece;
  std::uint64_t number = region.first_stage;
  for (const CpuProgram* program : *region.programs) {
    for (std::uint32_t stage = 0; stage < program->stage_count(); ++stage, ++number) {
      const std::uint64_t end = pieces + program->pieces_before(stage + 1);
      if (done_.load() >= end) continue;
      wait_for(pieces + program->pieces_before(stage));
      const std::uint64_t finished = run_stage(*program, stage, number, thread, *region.faults);
      if (finished > 0 && done_.fetch_add(finished) + finished == end) parking_.wake();
    }
    pieces += program->piece_count();
  }
}

// Runs what is left of a stage, this thread's own pieces first; returns how many pieces that were.
std::uint64_t ThreadPool::run_stage(const CpuProgram& program, std::uint32_t stage, std::uint64_t number,
                                    unsigned thread, FaultSink& faults) {
  std::uint64_t finished = 0;
  stage_of_thread = number;
  for (unsigned i = 0; i < threads_; ++i) {
    const unsigned owner = (thread + i) % threads_;
    const std::uint32_t available = program.pieces_of(stage, owner);
    std::uint32_t index = 0;
    while (claim(owner, number, available, &index)) {
      program.run_piece(stage, owner, index, faults);
      ++finished;
    }
  }
  stage_of_thread = 0;
  return finished;
}

// Takes the next piece of `owner`. The first claim of a stage starts its counter, whichever thread makes it; a counter
// that has moved on to a later stage refuses.
bool ThreadPool::claim(unsigned owner, std::uint64_t stage_number, std::uint32_t available, std::uint32_t* index) {
  if (available == 0) return false;
  std::atomic<std::uint64_t>& word = claims_[owner].word;
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t seen_stage = seen >> claim_bits;
    if (seen_stage > stage_number) return false;
    const std::uint64_t taken = seen_stage == stage_number ? seen & claim_mask : 0;
    if (taken >= available) return false;
    if (word.compare_exchange_weak(seen, stage_number << claim_bits | (taken + 1), std::memory_order_acq_rel)) {
      *index = static_cast<std::uint32_t>(taken);
      return true;
    }
  }
}

void ThreadPool::wait_for(std::uint64_t pieces_done) {
  if (done_.load() >= pieces_done) return;
  parking_.wait([&] { return done_.load() >= pieces_done; }, stage_spin, stage_yield);
}

}  // namespace softmetal::cpu
