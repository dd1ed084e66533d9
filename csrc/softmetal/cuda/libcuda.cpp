// Opens libcuda and finds its functions.
#include "softmetal/cuda/libcuda.h"

#include <dlfcn.h>

namespace softmetal::cuda {
namespace {

struct Loaded {
  Cuda functions;
  std::string problem;
};

// "" or the symbol that the library lacks.
std::string find_functions(void* library, Cuda* cuda) {
#define SOFTMETAL_CUDA_FIND(name, symbol, parameters)                          \
  cuda->name = reinterpret_cast<Result(*) parameters>(dlsym(library, symbol)); \
  if (!cuda->name) return symbol;
  SOFTMETAL_CUDA_FUNCTIONS(SOFTMETAL_CUDA_FIND)
#undef SOFTMETAL_CUDA_FIND
  cuda->GraphAddDependencies =
      reinterpret_cast<decltype(cuda->GraphAddDependencies)>(dlsym(library, "cuGraphAddDependencies_v2"));
  return "";
}

Loaded load() {
  Loaded loaded;
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    loaded.problem = "no NVIDIA driver is installed (libcuda.so.1 was not found)";
    return loaded;
  }
  const std::string missing = find_functions(library, &loaded.functions);
  if (!missing.empty()) {
    loaded.problem = "the NVIDIA driver is too old: it lacks " + missing + "; CUDA 12.0 or later is needed";
    return loaded;
  }
  const Result result = loaded.functions.Init(0);
  if (result == error_no_device) {
    loaded.problem = "the NVIDIA driver finds no GPU";
  } else if (result != success) {
    loaded.problem = "the NVIDIA driver does not start: " + loaded.functions.describe(result);
  }
  return loaded;
}

}  // namespace

std::string Cuda::describe(Result result) const {
  const char* text = nullptr;
  const char* name = nullptr;
  GetErrorString(result, &text);
  GetErrorName(result, &name);
  if (!name) return "error " + std::to_string(result);
  return (text ? std::string(text) + " (" : std::string("(")) + name + ")";
}

const Cuda* load_cuda(std::string* problem) {
  static const Loaded& loaded = *new Loaded(load());
  *problem = loaded.problem;
  return loaded.problem.empty() ? &loaded.functions : nullptr;
}

}  // namespace softmetal::cuda
