// The driver of the machine's own cores: host memory, translated shaders, one executor.
#include <cstring>

#include "softmetal/cpu/executor.h"
#include "softmetal/cpu/fault.h"
#include "softmetal/cpu/kept_memory.h"
#include "softmetal/cpu/machine.h"
#include "softmetal/cpu/memory.h"
#include "softmetal/cpu/overrides.h"
#include "softmetal/cpu/pipeline.h"
#include "softmetal/cpu/program.h"
#include "softmetal/cpu/shader_registry.h"
#include "softmetal/driver.h"

namespace softmetal::cpu {
namespace {

constexpr std::uint64_t cpu_registry_id = 1;
// Of the memory, one part at most is for what kernels keep; it is none of the working set, which models are planned by.
constexpr std::uint64_t kept_part = 8;

unsigned thread_count(const Environment& environment) {
  return environment.threads ? environment.threads : physical_cores();
}

DeviceInfo describe_machine(const Environment& environment) {
  DeviceInfo info;
  info.name = "softmetal CPU (" + processor_name() + ", " + std::to_string(thread_count(environment)) + " threads, " +
              kernel_set_name(environment) + ")";
  info.registry_id = cpu_registry_id;
  info.has_unified_memory = true;
  info.max_buffer_length = usable_memory();
  info.recommended_working_set = info.max_buffer_length / 4 * 3;
  info.page_size = page_size();
  return info;
}

class CpuDriver final : public Driver {
 public:
  explicit CpuDriver(const Environment& environment)
      : environment_(environment),
        info_(describe_machine(environment)),
        kept_(info_.max_buffer_length / kept_part, available_memory),
        executor_(thread_count(environment)) {
    throw_kernel_faults();
  }

  const DeviceInfo& info() const override { return info_; }

  bool allocate(std::uint64_t length, Storage, Memory* memory) override {
    void* pointer = length <= info_.max_buffer_length ? allocate_memory(length) : nullptr;
    if (!pointer) return false;
    *memory = memory_at(pointer, length);
    return true;
  }

  void free(const Memory& memory) override { free_memory(memory.host, memory.length); }

  bool import_host(void* pointer, std::uint64_t length, Memory* memory) override {
    *memory = memory_at(pointer, length);
    kept_.add_source(pointer, length);
    return true;
  }

  void release_import(const Memory& memory) override { kept_.remove_source(memory.host); }

  std::uint64_t kept_of(const Memory& memory) override { return kept_.made_of(memory.host); }

  std::unique_ptr<ShaderLibrary> find_library(const std::string& source, std::string* error) override {
    const CompiledShader* shader = find_shader(source);
    if (!shader) {
      *error =
          "the CPU driver only has shaders translated at build time, and this source text is none of them; "
          "add the file to the build's shader list";
      return nullptr;
    }
    auto library = std::make_unique<CpuLibrary>();
    library->file = shader->file;
    library->shader = shader;
    return library;
  }

  std::unique_ptr<Pipeline> make_pipeline(const ShaderLibrary& library, std::uint32_t kernel,
                                          const std::vector<ConstantSetting>& constants, bool, std::string*) override {
    const CompiledShader& shader = *static_cast<const CpuLibrary&>(library).shader;
    auto pipeline = std::make_unique<CpuPipeline>();
    pipeline->reflection = &shader.file->kernels[kernel];
    pipeline->max_total_threads = pipeline->reflection->max_total_threads;
    pipeline->kernel = shader.kernels[kernel];
    pipeline->static_threadgroup_memory = pipeline->kernel.static_threadgroup_memory;
    pipeline->native = choose_override(pipeline->kernel.name, environment_);
    for (const ConstantSetting& setting : constants) {
      ConstantValue value{};
      value.defined = setting.defined;
      std::memcpy(value.bytes, setting.bytes.data(), sizeof value.bytes);
      pipeline->constants.push_back(value);
    }
    return pipeline;
  }

  std::unique_ptr<Program> make_program(const std::vector<Command>& commands, bool replayed) override {
    return std::make_unique<CpuProgram>(commands, executor_.threads(), replayed ? &kept_ : nullptr);
  }

  std::unique_ptr<Queue> make_queue() override { return executor_.make_queue(); }

  void signal(EventState& event, std::uint64_t value) override {
    event.raise(value);
    executor_.event_raised();
  }

 private:
  static Memory memory_at(void* pointer, std::uint64_t length) {
    return {pointer, reinterpret_cast<std::uint64_t>(pointer), length};
  }

  Environment environment_;
  DeviceInfo info_;
  KeptMemory kept_;
  Executor executor_;
};

}  // namespace
}  // namespace softmetal::cpu

namespace softmetal {

std::unique_ptr<Driver> make_cpu_driver(const Environment& environment) {
  return std::make_unique<cpu::CpuDriver>(environment);
}

}  // namespace softmetal
