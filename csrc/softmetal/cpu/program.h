// A list of commands, split into pieces of work for a fixed number of threads.
//
// A stage is a run of commands without a barrier. Its threadgroups are cut into pieces, contiguous ranges, and each
// piece has a thread to which it belongs, the same at every run, so that a thread finds its part of the weights in its
// caches. Where native kernels want something prepared, a stage of its own comes first.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "softmetal/cpu/fault.h"
#include "softmetal/cpu/kept_memory.h"
#include "softmetal/cpu/memory.h"
#include "softmetal/cpu/pipeline.h"

namespace softmetal::cpu {

// Pieces of one thread in one stage; bounded because a claim counter has 16 bits.
inline constexpr std::uint32_t max_pieces_per_thread = 60000;

struct Work {
  Command::Kind kind = Command::Kind::dispatch;
  const CpuPipeline* pipeline = nullptr;
  Launch launch{};
  std::array<void*, binding_count> buffers{};
  std::array<std::uint32_t, binding_count> threadgroup_memory{};
  unsigned char* destination = nullptr;
  const unsigned char* source = nullptr;
  std::uint64_t length = 0;  // of copy and fill, bytes
  std::uint8_t value = 0;
  std::uint64_t units = 0;            // threadgroups, or blocks of a copy or fill
  std::uint64_t prepared_offset = 0;  // in the program's memory for what is prepared, bytes
  std::uint64_t kept_bytes = 0;       // of what its kernel keeps of each source
};

struct Piece {
  std::uint32_t work;
  std::uint64_t begin, end;  // units, of the work or of its preparation
  bool is_preparation;
};

struct FreeMemory {
  std::uint64_t length;
  void operator()(unsigned char* memory) const { free_memory(memory, length); }
};

class CpuProgram final : public Program {
 public:
  // `kept`: where kernels may keep what they make of buffers that do not change; null: nowhere.
  CpuProgram(const std::vector<Command>& commands, unsigned threads, KeptMemory* kept);

  // To be called before each run, by the one thread that starts all runs.
  void count_run() const;

  std::uint32_t stage_count() const { return stage_count_; }
  std::uint64_t piece_count() const { return pieces_.size(); }

  // Pieces of all stages before `stage`.
  std::uint64_t pieces_before(std::uint32_t stage) const { return first_piece_[std::size_t{stage} * threads_]; }

  std::uint32_t pieces_of(std::uint32_t stage, unsigned thread) const {
    const std::size_t slot = std::size_t{stage} * threads_ + thread;
    return static_cast<std::uint32_t>(first_piece_[slot + 1] - first_piece_[slot]);
  }

  // Runs the piece `index` of those that belong to `thread`, unless there was a fault before.
  void run_piece(std::uint32_t stage, unsigned thread, std::uint32_t index, FaultSink& faults) const;

  // Whether more than one thread could be of use.
  bool is_parallel() const { return piece_count() > stage_count_; }

 private:
  void add_work(const Command& command, Work& work);
  std::size_t plan_stage(std::size_t first_work);
  std::size_t stage_end(std::size_t first_work) const;
  void plan_preparations(std::size_t first_work, std::size_t last_work);
  void allocate_prepared();
  void start_keeping() const;
  void add_stage(const std::vector<std::vector<Piece>>& of_thread);
  void run(const Piece& piece, const FaultSink& faults) const;

  unsigned threads_;
  std::uint32_t stage_count_ = 0;
  std::vector<Work> works_;  // never resized once launches point into it
  std::vector<bool> barrier_;
  std::vector<Piece> pieces_;               // by stage, then thread
  std::vector<std::uint64_t> first_piece_;  // [stage * threads + thread], and the total at the end
  std::uint64_t prepared_bytes_ = 0;        // of the stage that prepares most; stages follow each other in one memory
  std::unique_ptr<unsigned char, FreeMemory> prepared_;

  // What a program keeps changes between its runs, though not what it computes.
  KeptMemory* kept_memory_;
  mutable std::uint32_t runs_ = 0;
  mutable std::vector<std::array<unsigned char*, most_kept>> kept_;  // a work
  mutable std::vector<std::shared_ptr<unsigned char>> kept_owners_;
};

}  // namespace softmetal::cpu
