// The seam between the Metal API and a device: what a driver must offer, and nothing of Metal's object model.
//
// The API layer validates, records and keeps memory alive; a driver allocates, makes kernels ready, and runs programs
// in queue order. Sizes and lengths are in bytes. All functions may be called from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device_notes.h"
#include "shader_table.h"
#include "softmetal/environment.h"
#include "softmetal/event_state.h"

namespace softmetal {

inline constexpr std::uint32_t binding_count = 31;  // [[buffer(n)]] and [[threadgroup(n)]]: n = 0..30
inline constexpr std::uint32_t max_threadgroup_memory = 32768;
inline constexpr std::uint32_t max_threads_per_threadgroup = 1024;
inline constexpr std::uint32_t simdgroup_width = 32;
inline constexpr std::uint32_t placement_alignment = 256;  // of a buffer inside a heap

enum class Storage : std::uint8_t { shared, device_private };

struct DeviceInfo {
  std::string name;
  std::uint64_t registry_id = 0;
  bool has_unified_memory = true;
  std::uint64_t recommended_working_set = 0;
  std::uint64_t max_buffer_length = 0;
  std::uint64_t page_size = 4096;  // host memory is imported in whole pages
};

struct Memory {
  void* host = nullptr;       // null if the host cannot reach it
  std::uint64_t address = 0;  // what kernels see
  std::uint64_t length = 0;
};

// A compiled shader file.
class ShaderLibrary {
 public:
  virtual ~ShaderLibrary() = default;
  const fastgo::ShaderFile* file = nullptr;
};

// A function constant of one pipeline, in the order of KernelReflection::constants.
struct ConstantSetting {
  bool defined = false;
  std::array<unsigned char, 16> bytes{};
};

class Pipeline {
 public:
  virtual ~Pipeline() = default;
  const fastgo::KernelReflection* reflection = nullptr;
  std::uint32_t max_total_threads = max_threads_per_threadgroup;
  std::uint32_t static_threadgroup_memory = 0;
};

struct Extent {
  std::uint32_t x = 0, y = 0, z = 0;
};

// One entry of a program. `barrier`: everything before it in the program has finished when it starts.
struct Command {
  enum class Kind : std::uint8_t { dispatch, copy, fill };

  Kind kind = Kind::dispatch;
  bool barrier = false;

  // dispatch; when threads_per_grid is no multiple of the threadgroup, the last threadgroups are smaller
  const Pipeline* pipeline = nullptr;
  Extent threads_per_grid, threadgroups_per_grid, threads_per_threadgroup;
  std::array<std::uint64_t, binding_count> buffers{};
  std::array<std::uint32_t, binding_count> threadgroup_memory{};

  // copy and fill
  std::uint64_t source = 0, destination = 0, length = 0;
  std::uint8_t value = 0;
};

// Commands made ready for a device; immutable, may be run many times and several times in one submission.
class Program {
 public:
  virtual ~Program() = default;
};

struct Step {
  enum class Kind : std::uint8_t { run, wait, signal };

  Kind kind = Kind::run;
  std::shared_ptr<const Program> program;
  std::shared_ptr<EventState> event;
  std::uint64_t value = 0;
};

// What a command buffer hands to a queue. The callbacks come from a thread of the driver and return soon.
class Submission {
 public:
  virtual ~Submission() = default;
  virtual void scheduled() = 0;
  // `fault` is empty if all went well; times in seconds of a steady clock.
  virtual void completed(const std::string& fault, double start_time, double end_time) = 0;

  std::vector<Step> steps;
};

// Runs submissions one after the other. Queues of one device run independently of each other.
class Queue {
 public:
  virtual ~Queue() = default;  // only when nothing submitted is unfinished
  virtual void submit(std::shared_ptr<Submission> submission) = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;

  virtual const DeviceInfo& info() const = 0;
  // Bytes that a program may hope to get: info()'s until the device is in use, then what others leave of them.
  virtual std::uint64_t working_set() const { return info().recommended_working_set; }

  // Zeroed memory, aligned to placement_alignment at least; false if there is not enough.
  virtual bool allocate(std::uint64_t length, Storage storage, Memory* memory) = 0;
  virtual void free(const Memory& memory) = 0;
  // Makes the caller's pages usable by the device; they stay the caller's. While a program is replayed that reads them,
  // and nothing on the device writes them, nobody else may: a driver may have copies in another order.
  virtual bool import_host(void* pointer, std::uint64_t length, Memory* memory) = 0;
  virtual void release_import(const Memory& memory) = 0;
  // Bytes of such copies, beside the caller's pages.
  virtual std::uint64_t kept_of(const Memory&) { return 0; }

  // Null, and the reason in `error`, on failure. `whole_simdgroups`: every threadgroup will be made of full simdgroups,
  // whose lanes return together or not at all.
  virtual std::unique_ptr<ShaderLibrary> find_library(const std::string& source, std::string* error) = 0;
  virtual std::unique_ptr<Pipeline> make_pipeline(const ShaderLibrary& library, std::uint32_t kernel,
                                                  const std::vector<ConstantSetting>& constants, bool whole_simdgroups,
                                                  std::string* error) = 0;

  // The pipelines and memory of the commands outlive the program's last run. `replayed`: it will run many times.
  // Buffers with arguments keep their content meanwhile: a driver may read them here, once.
  virtual std::unique_ptr<Program> make_program(const std::vector<Command>& commands, bool replayed) = 0;

  virtual std::unique_ptr<Queue> make_queue() = 0;
  // Raises an event from the host and wakes the queues that wait for it.
  virtual void signal(EventState& event, std::uint64_t value) = 0;
};

// The driver of the machine's own cores.
std::unique_ptr<Driver> make_cpu_driver(const Environment& environment);

// A driver for each device of the machine, the best first. What can't be used goes into `notes`.
struct FoundDrivers {
  std::vector<std::unique_ptr<Driver>> drivers;
  std::vector<fastgo::DeviceNote> notes;
};
FoundDrivers find_drivers(const Environment& environment);

}  // namespace softmetal
