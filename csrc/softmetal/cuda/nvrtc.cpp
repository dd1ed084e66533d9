// Finds NVRTC and calls it. `pip install fastgo[cuda]` puts it into site-packages/nvidia/*/lib.
#include "softmetal/cuda/nvrtc.h"

#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <mutex>

#include "softmetal/cuda/libraries.h"
#include "softmetal/cuda/metal_stdlib.h"

namespace softmetal::cuda {

// Declared after the public documentation of NVRTC; 0 is success.
struct NvrtcFunctions {
  int (*Version)(int*, int*);
  int (*GetNumSupportedArchs)(int*);
  int (*GetSupportedArchs)(int*);
  int (*CreateProgram)(void**, const char*, const char*, int, const char* const*, const char* const*);
  int (*DestroyProgram)(void**);
  int (*CompileProgram)(void*, int, const char* const*);
  int (*GetProgramLogSize)(void*, std::size_t*);
  int (*GetProgramLog)(void*, char*);
  int (*GetCUBINSize)(void*, std::size_t*);
  int (*GetCUBIN)(void*, char*);
  int (*GetPTXSize)(void*, std::size_t*);
  int (*GetPTX)(void*, char*);
  const char* (*GetErrorString)(int);
};

namespace {

constexpr const char* library_names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
constexpr const char* wheel_folders[] = {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"};
constexpr std::size_t max_log = 2000;
constexpr int warpgroup_architecture = 90;  // whose own instructions, wgmma among them, only code for 90a has

// NVRTC opens its builtins by bare name, which the linker only finds if they are loaded already.
void load_builtins(const std::string& folder) {
  DIR* entries = folder.empty() ? nullptr : opendir(folder.c_str());
  if (!entries) return;
  while (const dirent* entry = readdir(entries)) {
    const std::string name = entry->d_name;
    if (name.rfind("libnvrtc-builtins.so.", 0) == 0) dlopen((folder + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
  }
  closedir(entries);
}

void* open_library(const std::string& path) {
  load_builtins(folder_of(path));
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

void* search_library() {
  for (const std::string& folder : library_folders({std::begin(wheel_folders), std::end(wheel_folders)})) {
    for (const char* name : library_names) {
      if (void* library = open_library(path_in(folder, name))) return library;
    }
  }
  return nullptr;
}

template <typename F>
bool find(void* library, const char* symbol, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, symbol));
  return *function != nullptr;
}

bool find_functions(void* library, NvrtcFunctions* f) {
  return find(library, "nvrtcVersion", &f->Version) &&
         find(library, "nvrtcGetNumSupportedArchs", &f->GetNumSupportedArchs) &&
         find(library, "nvrtcGetSupportedArchs", &f->GetSupportedArchs) &&
         find(library, "nvrtcCreateProgram", &f->CreateProgram) &&
         find(library, "nvrtcDestroyProgram", &f->DestroyProgram) &&
         find(library, "nvrtcCompileProgram", &f->CompileProgram) &&
         find(library, "nvrtcGetProgramLogSize", &f->GetProgramLogSize) &&
         find(library, "nvrtcGetProgramLog", &f->GetProgramLog) &&
         find(library, "nvrtcGetCUBINSize", &f->GetCUBINSize) && find(library, "nvrtcGetCUBIN", &f->GetCUBIN) &&
         find(library, "nvrtcGetPTXSize", &f->GetPTXSize) && find(library, "nvrtcGetPTX", &f->GetPTX) &&
         find(library, "nvrtcGetErrorString", &f->GetErrorString);
}

// A text or image that NVRTC hands out by size and content.
std::string take(int (*size_of)(void*, std::size_t*), int (*get)(void*, char*), void* program) {
  std::size_t size = 0;
  if (size_of(program, &size) != 0) return "";
  std::string content(size, '\0');
  return size != 0 && get(program, content.data()) == 0 ? content : "";
}

}  // namespace

const Nvrtc* Nvrtc::load(const std::string& path, std::string* problem) {
  static std::mutex& mutex = *new std::mutex;
  static Nvrtc* loaded = nullptr;
  static std::string& reason = *new std::string;
  std::lock_guard<std::mutex> lock(mutex);
  if (loaded || !reason.empty()) {
    *problem = reason;
    return loaded;
  }
  void* library = path.empty() ? search_library() : open_library(path);
  auto* functions = new NvrtcFunctions{};
  auto* nvrtc = new Nvrtc;
  nvrtc->functions_ = functions;
  int count = 0;
  if (!library) {
    reason = "NVRTC, CUDA's compiler, was not found; `pip install fastgo[cuda]` brings it";
  } else if (!find_functions(library, functions) || functions->Version(&nvrtc->major_, &nvrtc->minor_) != 0 ||
             functions->GetNumSupportedArchs(&count) != 0) {
    reason = "the NVRTC found is too old; `pip install fastgo[cuda]` brings a newer one";
  }
  if (!reason.empty()) {
    delete functions;
    delete nvrtc;
    *problem = reason;
    return nullptr;
  }
  nvrtc->architectures_.resize(static_cast<std::size_t>(std::max(count, 1)));
  functions->GetSupportedArchs(nvrtc->architectures_.data());
  loaded = nvrtc;
  return loaded;
}

int Nvrtc::best_architecture(int wanted) const {
  int best = 0;
  for (const int architecture : architectures_) {
    if (architecture <= wanted) best = std::max(best, architecture);
  }
  return best;
}

std::string Nvrtc::compile(const CompileRequest& request, std::string* problem) const {
  const NvrtcFunctions& f = *functions_;
  const int architecture = best_architecture(request.architecture);
  const bool is_exact = architecture == request.architecture;
  std::vector<std::string> options = request.options;
  options.push_back(std::string("--gpu-architecture=") + (is_exact ? "sm_" : "compute_") +
                    std::to_string(architecture) + (is_exact && architecture == warpgroup_architecture ? "a" : ""));
  std::vector<const char*> pointers;
  for (const std::string& option : options) pointers.push_back(option.c_str());
  const char* header = metal_stdlib;
  const char* header_name = "metal_stdlib";
  void* program = nullptr;
  int result = f.CreateProgram(&program, request.source.c_str(), request.name.c_str(), 1, &header, &header_name);
  if (result != 0) {
    *problem = std::string("NVRTC can't start: ") + f.GetErrorString(result);
    return "";
  }
  result = f.CompileProgram(program, static_cast<int>(pointers.size()), pointers.data());
  std::string code;
  if (result != 0) {
    const std::string log = take(f.GetProgramLogSize, f.GetProgramLog, program);
    *problem = std::string("NVRTC: ") + f.GetErrorString(result) + ": " + log.substr(0, max_log);
  } else {
    code = is_exact ? take(f.GetCUBINSize, f.GetCUBIN, program) : take(f.GetPTXSize, f.GetPTX, program);
    if (code.empty()) *problem = "NVRTC gave no code";
  }
  f.DestroyProgram(&program);
  return code;
}

}  // namespace softmetal::cuda
