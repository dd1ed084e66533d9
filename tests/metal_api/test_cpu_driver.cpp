// The CPU driver below the API: native overrides, kernel faults, the thread pool, and what happens without the layer.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"
#include "softmetal/cpu/control_groups.h"
#include "softmetal/cpu/kept_memory.h"
#include "softmetal/cpu/overrides.h"
#include "softmetal/cpu/pipeline.h"
#include "softmetal/cpu/program.h"
#include "softmetal/cpu/thread_pool.h"

using namespace metal_api;
namespace cpu = softmetal::cpu;

namespace {

bool yes() { return true; }
bool no() { return false; }

std::atomic<std::uint64_t> groups_seen{0};

// Stand-ins that leave their mark instead of computing.
template <int mark>
void native_triple(const cpu::Launch& launch, std::uint64_t begin, std::uint64_t end) {
  auto* values = static_cast<std::uint32_t*>(launch.buffers[0]);
  const std::uint32_t threads = launch.threads_per_threadgroup.x;
  groups_seen += end - begin;
  for (std::uint64_t group = begin; group < end; ++group) {
    for (std::uint64_t i = group * threads;
         i < std::min<std::uint64_t>((group + 1) * threads, launch.threads_per_grid.x); ++i) {
      values[i] = mark;
    }
  }
}

std::uint32_t run_triple(std::size_t count) {
  const auto values = buffer_of(counting(count));
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("triple_plus_one").get());
    encoder->setBuffer(values.get(), 0, 0);
    encoder->dispatchThreads(along_x(count), along_x(64));
  });
  return values_of(values)[count - 1];
}

void register_all() {
  cpu::register_override("triple_plus_one", "low", 10, yes, {native_triple<10>});
  cpu::register_override("triple_plus_one", "middle", 20, yes, {native_triple<20>});
  cpu::register_override("triple_plus_one", "high", 30, no, {native_triple<30>});
}

// The error of a command buffer that `encode` makes fail.
std::string error_of(const std::function<void(MTL::ComputeCommandEncoder*)>& encode) {
  const Encoding encoding;
  encode(encoding.encoder);
  encoding.encoder->endEncoding();
  encoding.commands->commit();
  encoding.commands->waitUntilCompleted();
  CHECK_EQUAL(encoding.commands->status(), MTL::CommandBufferStatusError);
  return encoding.commands->error()->localizedDescription()->utf8String();
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

softmetal::Command fill(std::vector<unsigned char>& target, std::size_t at, std::size_t length, std::uint8_t value) {
  softmetal::Command command;
  command.kind = softmetal::Command::Kind::fill;
  command.barrier = true;
  command.destination = reinterpret_cast<std::uint64_t>(target.data() + at);
  command.length = length;
  command.value = value;
  return command;
}

}  // namespace

TEST(the_best_supported_override_runs) {
  register_all();
  CHECK_EQUAL(run_triple(10000), 20u);
  CHECK_EQUAL(groups_seen.load(), 157u);
}

TEST(kernels_without_override_run_as_translated) { CHECK_EQUAL(run_triple(10000), 29998u); }

// Run with FASTGO_CPU_KERNELS=msl.
TEST(overrides_can_be_turned_off) {
  register_all();
  CHECK_EQUAL(run_triple(100), 298u);
}

// Run with FASTGO_CPU_ISA=low.
TEST(overrides_can_be_limited) {
  register_all();
  CHECK_EQUAL(run_triple(100), 10u);
}

TEST(a_kernel_fault_is_the_error_of_its_command_buffer) {
  const auto values = buffer_of(counting(256));
  const auto kernel = pipeline("uneven_barrier");
  const std::string error = error_of([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(kernel.get());
    encoder->setBuffer(values.get(), 0, 0);
    encoder->dispatchThreads(along_x(256), along_x(64));
  });
  CHECK(contains(error, "uneven_barrier"));
  CHECK_EQUAL(run_triple(1000), 2998u);  // the device still works
}

// Run with the layer off: nothing crashes, the command buffer fails.
TEST(rejected_commands_fail_the_command_buffer) {
  const auto kernel = pipeline("triple_plus_one");
  const auto values = make_buffer(64);
  CHECK(contains(
      error_of([&](MTL::ComputeCommandEncoder* encoder) { encoder->dispatchThreads(along_x(16), along_x(16)); }),
      "no compute pipeline state"));
  CHECK(contains(error_of([&](MTL::ComputeCommandEncoder* encoder) {
                   encoder->setComputePipelineState(kernel.get());
                   encoder->setBuffer(values.get(), 100, 0);
                   encoder->dispatchThreads(along_x(16), along_x(16));
                 }),
                 "beyond buffer"));
  CHECK(contains(error_of([&](MTL::ComputeCommandEncoder* encoder) {
                   encoder->setComputePipelineState(nullptr);
                   encoder->setBuffer(values.get(), 0, 77);
                 }),
                 "state is null"));
  CHECK_EQUAL(values_of(values)[0], 0u);
}

TEST(programs_of_many_stages_run_each_piece_once) {
  for (const unsigned threads : {1u, 2u, 5u}) {
    cpu::ThreadPool pool(threads);
    std::vector<unsigned char> memory(600'000);
    std::vector<softmetal::Command> commands;
    for (int stage = 0; stage < 50; ++stage) {
      commands.push_back(fill(memory, 0, memory.size(), static_cast<std::uint8_t>(stage)));
      commands.push_back(fill(memory, 10 * stage, 10, 200));
    }
    const cpu::CpuProgram program(commands, threads, nullptr);
    CHECK_EQUAL(program.stage_count(), 100u);
    cpu::FaultSink faults;
    for (int i = 0; i < 20; ++i) pool.run({&program, &program}, faults);
    CHECK_EQUAL(static_cast<int>(memory[489]), 49);
    CHECK_EQUAL(static_cast<int>(memory[490]), 200);
    CHECK_EQUAL(static_cast<int>(memory[599'999]), 49);
  }
}

TEST(pieces_cover_a_dispatch_whatever_its_size) {
  std::vector<unsigned char> memory(10'000'000);
  for (const unsigned threads : {1u, 3u, 16u}) {
    for (const std::size_t length : {1u, 262'144u, 262'145u, 9'999'999u}) {
      std::vector<softmetal::Command> commands = {fill(memory, 0, length, 1), fill(memory, 0, length, 2)};
      commands[1].barrier = false;
      const cpu::CpuProgram program(commands, threads, nullptr);
      CHECK_EQUAL(program.stage_count(), 1u);
      std::uint64_t pieces = 0;
      for (unsigned thread = 0; thread < threads; ++thread) pieces += program.pieces_of(0, thread);
      CHECK_EQUAL(pieces, program.piece_count());
      CHECK_EQUAL(program.pieces_before(1), pieces);
    }
  }
}

// Kernels that add up what was prepared from their first buffer: each number of it plus one.
std::atomic<int> preparations{0};

const cpu::Preparation plus_one{
    [](const cpu::Launch& launch) -> std::uint64_t { return launch.threads_per_grid.x * sizeof(std::uint32_t); },
    [](const cpu::Launch& launch) -> std::uint64_t { return launch.threads_per_grid.x; },
    [](const cpu::Launch& launch, std::uint64_t begin, std::uint64_t end) {
      auto* prepared = reinterpret_cast<std::uint32_t*>(launch.prepared);
      for (; begin < end; ++begin) prepared[begin] = static_cast<const std::uint32_t*>(launch.buffers[0])[begin] + 1;
      ++preparations;
    },
    0};

void add_up_prepared(const cpu::Launch& launch, std::uint64_t begin, std::uint64_t end) {
  const auto* prepared = reinterpret_cast<const std::uint32_t*>(launch.prepared);
  for (; begin < end; ++begin) {
    std::uint32_t sum = 0;
    for (std::uint32_t i = 0; i < launch.threads_per_grid.x; ++i) sum += prepared[i];
    static_cast<std::uint32_t*>(launch.buffers[1])[begin] = sum;
  }
}

TEST(what_kernels_want_prepared_is_made_once_a_stage) {
  constexpr std::uint32_t size = 300;
  std::vector<std::uint32_t> first(size), second(size), sums(4 * size);
  for (std::uint32_t i = 0; i < size; ++i) second[i] = (first[i] = i) + 10;
  cpu::CpuPipeline pipeline;
  pipeline.native = {&add_up_prepared, &plus_one};
  std::vector<softmetal::Command> commands(4);
  for (std::size_t i = 0; i < commands.size(); ++i) {
    commands[i].pipeline = &pipeline;
    commands[i].barrier = i == 3;  // three in the first stage, of which the first two share their source
    commands[i].threads_per_grid = commands[i].threadgroups_per_grid = {size, 1, 1};
    commands[i].threads_per_threadgroup = {1, 1, 1};
    commands[i].buffers[0] = reinterpret_cast<std::uint64_t>(i < 2 ? first.data() : second.data());
    commands[i].buffers[1] = reinterpret_cast<std::uint64_t>(sums.data() + i * size);
  }
  cpu::ThreadPool pool(2);
  const cpu::CpuProgram program(commands, 2, nullptr);
  CHECK_EQUAL(program.stage_count(), 4u);
  cpu::FaultSink faults;
  pool.run({&program, &program}, faults);
  CHECK_EQUAL(preparations.load(), 2 * 3 * 4);  // runs, preparations, pieces of each
  for (std::size_t i = 0; i < sums.size(); ++i) {
    CHECK_EQUAL(sums[i], size * (size - 1) / 2 + size * (i < 2 * size ? 1u : 11u));
  }
}

// A kernel that counts its runs in what it keeps of its first buffer and leaves the count in its second; 0 without.
const cpu::Keeping a_count{[](const cpu::Launch&) -> std::uint64_t { return sizeof(std::uint32_t); }, 1, {0}};

void count_runs(const cpu::Launch& launch, std::uint64_t, std::uint64_t) {
  auto* kept = reinterpret_cast<std::uint32_t*>(launch.kept[0]);
  *static_cast<std::uint32_t*>(launch.buffers[1]) = kept ? ++*kept : 0;
}

struct Counter {
  Counter(const void* source, cpu::KeptMemory* kept) {
    pipeline.native = {&count_runs, nullptr, &a_count};
    softmetal::Command command;
    command.pipeline = &pipeline;
    command.threads_per_grid = command.threadgroups_per_grid = command.threads_per_threadgroup = {1, 1, 1};
    command.buffers[0] = reinterpret_cast<std::uint64_t>(source);
    command.buffers[1] = reinterpret_cast<std::uint64_t>(count.get());
    program = std::make_unique<cpu::CpuProgram>(std::vector<softmetal::Command>{command}, 1, kept);
  }

  // The count after some runs.
  std::uint32_t after(int runs) const {
    cpu::ThreadPool pool(1);
    cpu::FaultSink faults;
    for (int i = 0; i < runs; ++i) {
      program->count_run();
      pool.run({program.get()}, faults);
    }
    return *count;
  }

  cpu::CpuPipeline pipeline;
  std::unique_ptr<std::uint32_t> count = std::make_unique<std::uint32_t>(0);
  std::unique_ptr<cpu::CpuProgram> program;
};

std::uint64_t plenty() { return std::uint64_t{1} << 40; }

TEST(kernels_keep_what_they_make_of_pages_that_do_not_change) {
  const std::vector<std::uint32_t> lent(64), own(64);
  cpu::KeptMemory kept(1 << 20, plenty), full(3, plenty);
  for (cpu::KeptMemory* memory : {&kept, &full}) memory->add_source(lent.data(), lent.size() * sizeof lent[0]);
  std::uint32_t first = 0;
  {
    const Counter one(&lent[10], &kept), same(&lent[10], &kept), other(&lent[11], &kept);
    CHECK_EQUAL(one.after(1), 0u);  // not yet
    first = one.after(99);
    CHECK_EQUAL(first > 0 && first < 100, true);
    CHECK_EQUAL(one.after(10), first + 10);
    CHECK_EQUAL(same.after(100), 2 * first + 10);
    CHECK_EQUAL(other.after(100), first);
  }
  CHECK_EQUAL(Counter(&lent[10], &kept).after(100), first);  // given back, and zeroed when taken anew
  CHECK_EQUAL(Counter(&own[10], &kept).after(100), 0u);
  CHECK_EQUAL(Counter(&lent[10], nullptr).after(100), 0u);
  CHECK_EQUAL(Counter(&lent[10], &full).after(100), 0u);
  {
    const Counter before(&lent[10], &kept);
    CHECK_EQUAL(before.after(100), first);
    kept.add_source(lent.data(), lent.size() * sizeof lent[0]);  // other pages, at the address of those
    CHECK_EQUAL(Counter(&lent[10], &kept).after(100), first);
  }
  kept.remove_source(lent.data());
  CHECK_EQUAL(Counter(&lent[10], &kept).after(100), 0u);
}

std::uint64_t left = 0;

TEST(nothing_is_kept_where_memory_is_short) {
  constexpr std::uint64_t piece = 100 << 20, source_length = 512 << 20;
  const auto address = [](std::uint64_t at) { return reinterpret_cast<const void*>((std::uint64_t{1} << 30) + at); };
  cpu::KeptMemory kept(piece * 10, [] { return left; });
  kept.add_source(address(0), source_length);
  left = source_length + 2 * piece - 1;
  CHECK(!kept.find(address(0), piece));
  left = source_length / 2;
  CHECK(!kept.find(address(0), piece));
  left = source_length + 2 * piece;
  const auto first = kept.find(address(0), piece);
  CHECK(first != nullptr);
  CHECK_EQUAL(kept.made_of(address(0)), piece);
  CHECK(!kept.find(address(64), piece));  // what is kept already may not have been written
  left = 0;
  CHECK(kept.find(address(0), piece) == first);
  left = source_length + 4 * piece;
  CHECK(kept.find(address(64), piece) != nullptr);
  CHECK_EQUAL(kept.made_of(address(0)), piece);  // the second was given back
  CHECK_EQUAL(kept.made_of(address(64)), 0u);    // no source begins there
}

// A folder with files in it, for the time of a test.
class MadeUpRoot {
 public:
  MadeUpRoot() {
    char name[] = "/tmp/fastgo-groups-XXXXXX";
    path = mkdtemp(name);
  }
  ~MadeUpRoot() { std::filesystem::remove_all(path); }
  void write(const std::string& file, const std::string& content) const {
    std::filesystem::create_directories(std::filesystem::path(path + file).parent_path());
    std::ofstream(path + file) << content;
  }

  std::string path;
};

TEST(control_groups_limit_memory_and_processors) {
  const MadeUpRoot none, second, first;
  const std::uint64_t unlimited = cpu::GroupMemory{}.limit;
  CHECK_EQUAL(cpu::group_memory(none.path).limit, unlimited);
  CHECK_EQUAL(cpu::group_memory(none.path).available, unlimited);
  CHECK_EQUAL(cpu::group_processors(none.path), 0u);

  second.write("/proc/self/cgroup", "0::/outer/inner\n");
  const std::string groups = "/sys/fs/cgroup/outer";
  second.write(groups + "/inner/memory.max", "max\n");
  second.write(groups + "/inner/cpu.max", "max 100000\n");
  second.write(groups + "/memory.max", "8000\n");
  second.write(groups + "/memory.current", "5000\n");
  second.write(groups + "/memory.stat", "anon 3000\nactive_file 1500\ninactive_file 400\n");
  second.write(groups + "/cpu.max", "250000 100000\n");
  CHECK_EQUAL(cpu::group_memory(second.path).limit, 8000u);
  CHECK_EQUAL(cpu::group_memory(second.path).available, 4900u);
  CHECK_EQUAL(cpu::group_processors(second.path), 3u);
  second.write(groups + "/inner/memory.max", "6000\n");
  second.write(groups + "/inner/memory.current", "9000\n");
  CHECK_EQUAL(cpu::group_memory(second.path).limit, 6000u);
  CHECK_EQUAL(cpu::group_memory(second.path).available, 0u);

  // A container's own group, seen as the outermost one.
  first.write("/proc/self/cgroup", "4:memory:/docker/0123\n2:cpu,cpuacct:/docker/0123\n1:cpuset:/\n0::/\n");
  first.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "7000\n");
  first.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "6000\n");
  first.write("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500\ntotal_active_file 20\n");
  first.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  first.write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  CHECK_EQUAL(cpu::group_memory(first.path).limit, 7000u);
  CHECK_EQUAL(cpu::group_memory(first.path).available, 1520u);
  CHECK_EQUAL(cpu::group_processors(first.path), 1u);
  first.write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  CHECK_EQUAL(cpu::group_processors(first.path), 0u);
}

TEST(idle_threads_use_no_processor_time) {
  run_triple(100'000);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK((std::clock() - before) * 1000 / CLOCKS_PER_SEC < 20);
}

// No abort: a report at exit.
FAULT(leaked_buffer, "leaked at exit") {
  device()->newBuffer(64, MTL::ResourceStorageModeShared)->setLabel(text("left behind"));
}
