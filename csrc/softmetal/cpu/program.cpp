// Plans programs and runs single pieces of them.
#include "softmetal/cpu/program.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

namespace softmetal::cpu {
namespace {

constexpr std::uint64_t blit_block = 256 * 1024;  // bytes of a copy or fill in one unit

// Native kernels like few long ranges; the shaders' own threadgroups are split finer, which balances better.
constexpr std::uint64_t native_pieces_per_thread = 2;
constexpr std::uint64_t many_units = 1024, pieces_of_many_units = 3;  // where unequal threads cost more than a piece
constexpr std::uint64_t shader_pieces_per_thread = 8;

// Of products and the like: half of a thread's share, then half of what is left, and so on. What their pieces have in
// common is prepared before, so that small ones cost nothing more, and threads end at nearly the same time.
constexpr std::uint64_t shrinking_pieces_per_thread = 5;

// Before a program's kernels keep anything: what runs a few times only would not earn the memory back.
constexpr std::uint32_t runs_before_keeping = 8;

Size3 size3(const Extent& extent) { return {extent.x, extent.y, extent.z}; }

bool has_shrinking_pieces(const Work& work, unsigned threads) {
  const bool is_prepared = work.pipeline && work.pipeline->native.run && work.pipeline->native.preparation;
  return is_prepared && work.kept_bytes == 0 && work.units >= many_units &&
         work.units >> shrinking_pieces_per_thread >= threads;
}

std::uint64_t wanted_pieces(const Work& work, unsigned threads) {
  if (has_shrinking_pieces(work, threads)) return shrinking_pieces_per_thread * threads;
  const bool native = work.pipeline && work.pipeline->native.run;
  const std::uint64_t of_native = work.units < many_units ? native_pieces_per_thread : pieces_of_many_units;
  const std::uint64_t per_thread = native ? of_native : shader_pieces_per_thread;
  // Few units of a native kernel stay together: heads of attention, say, that read the same keys.
  if (native && work.units <= per_thread * threads) return std::min<std::uint64_t>(work.units, threads);
  return std::min<std::uint64_t>(work.units, per_thread * threads);
}

// The first unit of piece `p` of `count`.
std::uint64_t piece_begin(const Work& work, unsigned threads, std::uint64_t p, std::uint64_t count) {
  if (!has_shrinking_pieces(work, threads)) return work.units * p / count;
  const std::uint64_t thread = p / shrinking_pieces_per_thread, place = p % shrinking_pieces_per_thread;
  const std::uint64_t begin = work.units * thread / threads, end = work.units * (thread + 1) / threads;
  return place == 0 ? begin : begin + ((end - begin) >> (shrinking_pieces_per_thread - place));
}

void run_threadgroups(const Work& work, const Piece& piece, const FaultSink& faults) {
  const Launch& launch = work.launch;
  const Size3 groups = launch.threadgroups_per_grid;
  const Size3 grid = launch.threads_per_grid;
  const Size3 threads = launch.threads_per_threadgroup;
  const std::uint64_t layer = std::uint64_t{groups.x} * groups.y;
  for (std::uint64_t i = piece.begin; i < piece.end && !faults.faulted(); ++i) {
    Threadgroup group;
    group.position.z = static_cast<std::uint32_t>(i / layer);
    group.position.y = static_cast<std::uint32_t>(i % layer / groups.x);
    group.position.x = static_cast<std::uint32_t>(i % groups.x);
    group.threads.x = std::min(threads.x, grid.x - group.position.x * threads.x);
    group.threads.y = std::min(threads.y, grid.y - group.position.y * threads.y);
    group.threads.z = std::min(threads.z, grid.z - group.position.z * threads.z);
    work.pipeline->kernel.run(launch, group);
  }
}

void run_blit(const Work& work, const Piece& piece) {
  const std::uint64_t begin = piece.begin * blit_block;
  const std::uint64_t size = std::min(work.length, piece.end * blit_block) - begin;
  if (work.kind == Command::Kind::copy) {
    std::memcpy(work.destination + begin, work.source + begin, size);
  } else {
    std::memset(work.destination + begin, work.value, size);
  }
}

}  // namespace

CpuProgram::CpuProgram(const std::vector<Command>& commands, unsigned threads, KeptMemory* kept)
    : threads_(threads),
      works_(commands.size()),
      barrier_(commands.size()),
      first_piece_(1, 0),
      kept_memory_(kept),
      kept_(commands.size()) {
  for (std::size_t i = 0; i < commands.size(); ++i) {
    add_work(commands[i], works_[i]);
    works_[i].launch.kept = kept_[i].data();
    barrier_[i] = commands[i].barrier;
  }
  for (std::size_t first = 0; first < works_.size();) first = plan_stage(first);
  allocate_prepared();
}

void CpuProgram::add_work(const Command& command, Work& work) {
  work.kind = command.kind;
  if (command.kind != Command::Kind::dispatch) {
    work.destination = reinterpret_cast<unsigned char*>(command.destination);
    work.source = reinterpret_cast<const unsigned char*>(command.source);
    work.length = command.length;
    work.value = command.value;
    work.units = command.length / blit_block + (command.length % blit_block != 0);
    return;
  }
  work.pipeline = static_cast<const CpuPipeline*>(command.pipeline);
  for (std::uint32_t i = 0; i < binding_count; ++i) work.buffers[i] = reinterpret_cast<void*>(command.buffers[i]);
  work.threadgroup_memory = command.threadgroup_memory;
  work.launch.buffers = work.buffers.data();
  work.launch.threads_per_grid = size3(command.threads_per_grid);
  work.launch.threadgroups_per_grid = size3(command.threadgroups_per_grid);
  work.launch.threads_per_threadgroup = size3(command.threads_per_threadgroup);
  work.launch.threadgroup_memory_size = work.threadgroup_memory.data();
  work.launch.constants = work.pipeline->constants.data();
  const Extent& groups = command.threadgroups_per_grid;
  work.units = std::uint64_t{groups.x} * groups.y * groups.z;
  const Keeping* keeping = work.pipeline->native.keeping;
  if (keeping) work.kept_bytes = keeping->bytes(work.launch);
}

void CpuProgram::count_run() const {
  if (runs_ <= runs_before_keeping && ++runs_ > runs_before_keeping && kept_memory_) start_keeping();
}

void CpuProgram::start_keeping() const {
  for (std::size_t w = 0; w < works_.size(); ++w) {
    const Work& work = works_[w];
    if (work.kept_bytes == 0) continue;
    const Keeping& keeping = *work.pipeline->native.keeping;
    for (int i = 0; i < keeping.count; ++i) {
      std::shared_ptr<unsigned char> memory = kept_memory_->find(work.buffers[keeping.sources[i]], work.kept_bytes);
      kept_[w][i] = memory.get();
      kept_owners_.push_back(std::move(memory));
    }
  }
}

// The work after those of the stage that begins with `first_work`: at a barrier, or where pieces get too many.
std::size_t CpuProgram::stage_end(std::size_t first_work) const {
  std::uint64_t pieces = 0;  // of one thread, at most
  std::size_t w = first_work;
  for (; w < works_.size(); ++w) {
    if (w > first_work && barrier_[w]) break;
    pieces += wanted_pieces(works_[w], threads_) / threads_ + 1;
    if (pieces > max_pieces_per_thread) break;
  }
  return w;
}

// Cuts the works from `first_work` to the next barrier into pieces; returns the work after them.
std::size_t CpuProgram::plan_stage(std::size_t first_work) {
  const std::size_t last_work = stage_end(first_work);
  plan_preparations(first_work, last_work);
  std::vector<std::vector<Piece>> of_thread(threads_);
  unsigned next_thread = 0;
  for (std::size_t w = first_work; w < last_work; ++w) {
    const std::uint64_t count = wanted_pieces(works_[w], threads_);
    // A thread begins with its last piece, the largest: where costs grow along a grid, as causal attention's do, small
    // ones come last as well. Kept weights are read in order, so that what one piece asks for ahead is the next one's.
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t p = works_[w].kept_bytes != 0 ? i : count - 1 - i;
      // Fewer pieces than threads: go on where the work before stopped, so that small dispatches spread.
      const std::uint64_t thread = count < threads_ ? (next_thread + p) % threads_ : p * threads_ / count;
      const std::uint64_t begin = piece_begin(works_[w], threads_, p, count);
      const std::uint64_t end = piece_begin(works_[w], threads_, p + 1, count);
      of_thread[thread].push_back({static_cast<std::uint32_t>(w), begin, end, false});
    }
    if (count < threads_) next_thread = static_cast<unsigned>((next_thread + count) % threads_);
  }
  add_stage(of_thread);
  return last_work;
}

// Adds a stage in which the threads make what the works [first_work, last_work) want prepared, if anything.
void CpuProgram::plan_preparations(std::size_t first_work, std::size_t last_work) {
  std::vector<std::vector<Piece>> of_thread(threads_);
  std::uint64_t offset = 0;
  for (std::size_t w = first_work; w < last_work; ++w) {
    Work& work = works_[w];
    const Preparation* preparation = work.pipeline ? work.pipeline->native.preparation : nullptr;
    const std::uint64_t bytes = preparation ? preparation->bytes(work.launch) : 0;
    if (bytes == 0) continue;
    work.launch.prepared_bytes = bytes;
    const auto shares = [&](const Work& other) {
      return other.launch.prepared_bytes == bytes && other.pipeline->native.preparation->run == preparation->run &&
             other.buffers[preparation->source] == work.buffers[preparation->source];
    };
    const auto end = works_.begin() + w, earlier = std::find_if(works_.begin() + first_work, end, shares);
    if (earlier != end) {
      work.prepared_offset = earlier->prepared_offset;
      continue;
    }
    work.prepared_offset = offset;
    offset += (bytes + 63) / 64 * 64;
    const std::uint64_t units = preparation->units(work.launch);
    const std::uint64_t count = std::min<std::uint64_t>(units, native_pieces_per_thread * threads_);
    for (std::uint64_t p = 0; p < count; ++p) {
      of_thread[p * threads_ / count].push_back(
          {static_cast<std::uint32_t>(w), units * p / count, units * (p + 1) / count, true});
    }
  }
  if (offset == 0) return;
  prepared_bytes_ = std::max(prepared_bytes_, offset);
  add_stage(of_thread);
}

void CpuProgram::add_stage(const std::vector<std::vector<Piece>>& of_thread) {
  for (const std::vector<Piece>& pieces : of_thread) {
    pieces_.insert(pieces_.end(), pieces.begin(), pieces.end());
    first_piece_.push_back(pieces_.size());
  }
  ++stage_count_;
}

void CpuProgram::allocate_prepared() {
  if (prepared_bytes_ == 0) return;
  prepared_ = {static_cast<unsigned char*>(allocate_memory(prepared_bytes_)), FreeMemory{prepared_bytes_}};
  if (!prepared_) throw std::bad_alloc();
  for (Work& work : works_) {
    if (work.launch.prepared_bytes != 0) work.launch.prepared = prepared_.get() + work.prepared_offset;
  }
}

void CpuProgram::run_piece(std::uint32_t stage, unsigned thread, std::uint32_t index, FaultSink& faults) const {
  if (faults.faulted()) return;
  const Piece& piece = pieces_[first_piece_[std::size_t{stage} * threads_ + thread] + index];
  try {
    run(piece, faults);
  } catch (const KernelFault& fault) {
    const char* kernel = works_[piece.work].pipeline->reflection->name;
    faults.record(std::string("kernel \"") + kernel + "\": " + fault.what());
  }
}

void CpuProgram::run(const Piece& piece, const FaultSink& faults) const {
  const Work& work = works_[piece.work];
  if (work.kind != Command::Kind::dispatch) {
    run_blit(work, piece);
  } else if (piece.is_preparation) {
    work.pipeline->native.preparation->run(work.launch, piece.begin, piece.end);
  } else if (work.pipeline->native.run) {
    work.pipeline->native.run(work.launch, piece.begin, piece.end);
  } else {
    run_threadgroups(work, piece, faults);
  }
}

}  // namespace softmetal::cpu
