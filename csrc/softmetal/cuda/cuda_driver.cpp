// The driver of an NVIDIA GPU: its own memory, pinned host memory for shared storage, shaders through NVRTC.
#include "softmetal/cuda/cuda_driver.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "softmetal/cuda/code_cache.h"
#include "softmetal/cuda/context.h"
#include "softmetal/cuda/large_products.h"
#include "softmetal/cuda/nvrtc.h"
#include "softmetal/cuda/pipeline.h"
#include "softmetal/cuda/program.h"
#include "softmetal/cuda/queue.h"

namespace softmetal::cuda {
namespace {

constexpr std::uint64_t first_registry_id = 2;  // 1 is the CPU's
constexpr int oldest_cuda_version = 12000;
constexpr std::uint64_t reserved_memory = std::uint64_t{512} << 20;  // for the context, code and CUDA itself
constexpr std::uint64_t code_memory = std::uint64_t{128} << 20;      // for what a context takes later
constexpr std::uint64_t host_page_size = 4096;

DeviceInfo describe_device(const Context& context, int number, std::uint64_t product_memory) {
  const std::uint64_t reserved = reserved_memory + product_memory;
  DeviceInfo info;
  info.name = "softmetal CUDA (" + context.name() + ")";
  info.registry_id = first_registry_id + static_cast<std::uint64_t>(number);
  info.has_unified_memory = false;
  info.recommended_working_set = context.memory() > reserved ? context.memory() - reserved : 0;
  info.max_buffer_length = context.memory();
  info.page_size = host_page_size;
  return info;
}

class CudaDriver final : public Driver {
 public:
  CudaDriver(std::shared_ptr<Context> context, const Nvrtc& nvrtc, const Environment& environment, int number)
      : context_(std::move(context)),
        nvrtc_(nvrtc),
        cache_(environment.cuda_cache),
        products_(std::make_shared<LargeProducts>(context_, nvrtc_, cache_, environment.cublas)),
        info_(describe_device(*context_, number, products_->reserved_memory())),
        working_set_(info_.recommended_working_set),
        queues_(std::make_shared<QueueSet>()) {}

  const DeviceInfo& info() const override { return info_; }
  std::uint64_t working_set() const override { return working_set_; }

  bool allocate(std::uint64_t length, Storage storage, Memory* memory) override {
    if (!context_->enter().empty()) return false;
    return storage == Storage::shared ? allocate_pinned(length, memory) : allocate_private(length, memory);
  }

  void free(const Memory& memory) override {
    if (!context_->enter().empty()) return;
    if (memory.host) {
      cuda().MemFreeHost(memory.host);
    } else {
      cuda().MemFree(memory.address);
    }
  }

  bool import_host(void* pointer, std::uint64_t length, Memory* memory) override {
    if (!context_->enter().empty()) return false;
    if (cuda().MemHostRegister(pointer, length, host_portable | host_device_map) != success) return false;
    DevicePointer address = 0;
    if (cuda().MemHostGetDevicePointer(&address, pointer, 0) != success) {
      cuda().MemHostUnregister(pointer);
      return false;
    }
    *memory = {pointer, address, length};
    return true;
  }

  void release_import(const Memory& memory) override {
    if (context_->enter().empty()) cuda().MemHostUnregister(memory.host);
  }

  std::unique_ptr<ShaderLibrary> find_library(const std::string& source, std::string* error) override {
    const TranslatedShader* shader = find_shader(source);
    if (!shader) {
      *error =
          "the CUDA driver only has shaders translated at build time, and this source text is none of them; "
          "add the file to the build's shader list";
      return nullptr;
    }
    auto library = std::make_unique<CudaLibrary>();
    library->file = shader->file;
    library->shader = shader;
    return library;
  }

  std::unique_ptr<Pipeline> make_pipeline(const ShaderLibrary& library, std::uint32_t kernel,
                                          const std::vector<ConstantSetting>& constants, bool whole_simdgroups,
                                          std::string* error) override {
    const TranslatedShader& shader = *static_cast<const CudaLibrary&>(library).shader;
    return build_pipeline(context_, nvrtc_, cache_, {shader, kernel, constants, whole_simdgroups}, error);
  }

  std::unique_ptr<Program> make_program(const std::vector<Command>& commands, bool replayed) override {
    return std::make_unique<CudaProgram>(context_, products_, commands, replayed);
  }

  std::unique_ptr<Queue> make_queue() override {
    see_free_memory();
    return std::make_unique<CudaQueue>(context_, queues_);
  }

  void signal(EventState& event, std::uint64_t value) override {
    event.raise(value);
    queues_->wake();
  }

 private:
  const Cuda& cuda() const { return context_->cuda(); }

  // The GPU reads and writes it over the bus, at the same address as the host.
  bool allocate_pinned(std::uint64_t length, Memory* memory) {
    void* host = nullptr;
    if (cuda().MemHostAlloc(&host, length, host_portable | host_device_map) != success) return false;
    DevicePointer address = 0;
    if (cuda().MemHostGetDevicePointer(&address, host, 0) != success) {
      cuda().MemFreeHost(host);
      return false;
    }
    std::memset(host, 0, length);
    *memory = {host, address, length};
    return true;
  }

  bool allocate_private(std::uint64_t length, Memory* memory) {
    DevicePointer address = 0;
    if (cuda().MemAlloc(&address, length) != success) return false;
    if (cuda().MemsetD8Async(address, 0, length, nullptr) != success || cuda().StreamSynchronize(nullptr) != success) {
      cuda().MemFree(address);
      return false;
    }
    *memory = {nullptr, address, length};
    return true;
  }

  // Other programs may hold memory of the GPU as well; asking takes a context, which a queue needs anyway.
  void see_free_memory() {
    std::size_t unused = 0, whole = 0;
    if (!context_->enter().empty() || cuda().MemGetInfo(&unused, &whole) != success) return;
    const std::uint64_t taken_later = code_memory + products_->reserved_memory();
    const std::uint64_t left = unused > taken_later ? unused - taken_later : 0;
    working_set_ = std::min<std::uint64_t>(info_.recommended_working_set, left);
  }

  std::shared_ptr<Context> context_;
  const Nvrtc& nvrtc_;
  CodeCache cache_;
  std::shared_ptr<LargeProducts> products_;
  DeviceInfo info_;
  std::atomic<std::uint64_t> working_set_;
  std::shared_ptr<QueueSet> queues_;
};

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// Why no GPU can be used although one may be there; "" if all is well.
std::string driver_problem(const Cuda& cuda, const Nvrtc& nvrtc) {
  int version = 0;
  cuda.DriverGetVersion(&version);
  if (version < oldest_cuda_version) {
    return "the NVIDIA driver offers CUDA " + version_text(version) + "; 12.0 or later is needed: update the driver";
  }
  if (nvrtc.major() > version / 1000) {
    return "the NVIDIA driver offers CUDA " + version_text(version) + ", the NVRTC found is " + nvrtc.version() +
           ": update the driver, or install nvidia-cuda-nvrtc-cu12";
  }
  return "";
}

}  // namespace

CudaDevices find_devices(const Environment& environment) {
  CudaDevices found;
  const Cuda* cuda = load_cuda(&found.problem);
  if (!cuda) return found;
  int count = 0;
  if (cuda->DeviceGetCount(&count) != success || count == 0) {
    found.problem = "the NVIDIA driver finds no GPU";
    return found;
  }
  found.has_gpu = true;
  const Nvrtc* nvrtc = Nvrtc::load(environment.nvrtc, &found.problem);
  if (nvrtc) found.problem = driver_problem(*cuda, *nvrtc);
  if (!found.problem.empty()) return found;
  for (int i = 0; i < count; i++) {
    DeviceNumber number = 0;
    if (cuda->DeviceGet(&number, i) != success) continue;
    auto context = std::make_shared<Context>(*cuda, number);
    if (nvrtc->best_architecture(context->architecture()) == 0) {
      found.problem = "the GPU " + context->name() + " is too old for NVRTC " + nvrtc->version();
      continue;
    }
    found.drivers.push_back(std::make_unique<CudaDriver>(std::move(context), *nvrtc, environment, i));
  }
  return found;
}

}  // namespace softmetal::cuda
