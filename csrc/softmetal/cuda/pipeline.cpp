// From a shader's CUDA text to a loaded function.
#include "softmetal/cuda/pipeline.h"

#include <algorithm>
#include <cstring>

#include "softmetal/cuda/metal_stdlib.h"

namespace softmetal::cuda {
namespace {

constexpr const char* entry_name = "softmetal_kernel";

// How every shader is compiled. Contraction into fused multiply-adds stays on: Metal's compiler does it as well.
const std::vector<std::string>& common_options() {
  static const std::vector<std::string>& options =
      *new std::vector<std::string>{"-std=c++20", "-default-device", "--device-int128", "-w"};
  return options;
}

std::string hexadecimal(std::uint64_t value) {
  constexpr const char* digits = "0123456789abcdef";
  std::string text = "ull";
  do {
    text.insert(text.begin(), digits[value % 16]);
    value /= 16;
  } while (value != 0);
  return "0x" + text;
}

std::string constant_option(const fastgo::ConstantReflection& constant, const ConstantSetting& setting) {
  std::uint64_t words[2] = {0, 0};
  static_assert(sizeof words == sizeof setting.bytes);
  if (setting.defined) std::memcpy(words, setting.bytes.data(), sizeof words);
  return "-DSOFTMETAL_CONSTANT_" + std::to_string(constant.index) + "=" + (setting.defined ? "true" : "false") + "," +
         hexadecimal(words[0]) + "," + hexadecimal(words[1]);
}

CompileRequest request_for(const Context& context, const KernelChoice& choice) {
  const fastgo::ShaderFile& file = *choice.shader.file;
  CompileRequest request;
  request.name = std::string(file.name) + ".cu";
  request.source = choice.shader.text;
  request.options = common_options();
  request.architecture = context.architecture();
  request.options.push_back("-DSOFTMETAL_KERNEL=" + std::to_string(choice.kernel));
  if (choice.whole_simdgroups) request.options.push_back("-DSOFTMETAL_WHOLE_SIMDGROUPS=1");
  const fastgo::KernelReflection& reflection = file.kernels[choice.kernel];
  for (std::uint32_t i = 0; i < reflection.constant_count; i++) {
    const ConstantSetting setting = i < choice.constants.size() ? choice.constants[i] : ConstantSetting{};
    request.options.push_back(constant_option(reflection.constants[i], setting));
  }
  return request;
}

// Everything that the code depends on.
std::string cache_key(const CompileRequest& request, const Context& context, const Nvrtc& nvrtc) {
  int driver = 0;
  context.cuda().DriverGetVersion(&driver);
  std::string key = "nvrtc " + nvrtc.version() + " driver " + std::to_string(driver) + " architecture " +
                    std::to_string(request.architecture);
  for (const std::string& option : request.options) key += "\n" + option;
  return key + "\n" + metal_stdlib + "\n" + request.source;
}

std::unique_ptr<CudaPipeline> load_code(const std::shared_ptr<Context>& context, const std::string& code,
                                        std::string* problem) {
  const Cuda& cuda = context->cuda();
  ModuleHandle loaded = nullptr;
  FunctionHandle function = nullptr;
  Result result = cuda.ModuleLoadData(&loaded, code.data());
  if (result == success) result = cuda.ModuleGetFunction(&function, loaded, entry_name);
  if (result != success) {
    *problem = "the GPU does not take the compiled kernel: " + cuda.describe(result);
    if (loaded) cuda.ModuleUnload(loaded);
    return nullptr;
  }
  return std::make_unique<CudaPipeline>(context, loaded, function);
}

// A core divides one memory between its first cache and threadgroups, and has to be idle to divide it anew. So kernels
// that hold a whole row ask for the same part: the threadgroups of one then start while some of the one before still
// run (measured: Gemma 3 1B in q4_0 is 3 % faster). Others do best with what the driver chooses.
void prefer_common_part(const Context& context, FunctionHandle function, int shared_size) {
  constexpr int least = 24 << 10, wanted = 100 << 10;
  const int memory = context.shared_memory_per_core();
  if (shared_size < least || shared_size > static_cast<int>(max_threadgroup_memory) || memory < 2 * wanted) return;
  const int percent = (100 * wanted + memory - 1) / memory;
  context.cuda().FuncSetAttribute(function, function_preferred_shared_part, percent);  // a hint: it may fail
}

}  // namespace

CudaPipeline::~CudaPipeline() {
  if (context_->enter().empty()) context_->cuda().ModuleUnload(module_);
}

std::unique_ptr<CudaPipeline> build_pipeline(const std::shared_ptr<Context>& context, const Nvrtc& nvrtc,
                                             const CodeCache& cache, const KernelChoice& choice, std::string* problem) {
  *problem = context->enter();
  if (!problem->empty()) return nullptr;
  const CompileRequest request = request_for(*context, choice);
  const std::string key = cache_key(request, *context, nvrtc);
  std::string code = cache.find(key);
  if (code.empty()) {
    code = nvrtc.compile(request, problem);
    if (code.empty()) return nullptr;
    cache.store(key, code);
  }
  auto pipeline = load_code(context, code, problem);
  if (!pipeline) return nullptr;
  const Cuda& cuda = context->cuda();
  int max_threads = 0, shared_size = 0;
  cuda.FuncGetAttribute(&max_threads, function_max_threads, pipeline->function);
  cuda.FuncGetAttribute(&shared_size, function_shared_size, pipeline->function);
  prefer_common_part(*context, pipeline->function, shared_size);
  pipeline->reflection = &choice.shader.file->kernels[choice.kernel];
  pipeline->constants = choice.constants;
  pipeline->max_total_threads =
      std::min(pipeline->reflection->max_total_threads, static_cast<std::uint32_t>(max_threads));
  // The pieces that shaders have for NVIDIA may take what Metal has not; the CPU driver holds shaders to its limit.
  pipeline->static_threadgroup_memory = std::min(static_cast<std::uint32_t>(shared_size), max_threadgroup_memory);
  return pipeline;
}

}  // namespace softmetal::cuda
