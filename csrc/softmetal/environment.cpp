// Reads the environment variables that softmetal listens to.
#include "softmetal/environment.h"

#include <cstdio>
#include <cstdlib>

namespace softmetal {
namespace {

constexpr unsigned max_threads = 1024;

std::string value_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

void ignored(const char* name, const std::string& value, const char* expected) {
  std::fprintf(stderr, "softmetal: %s=%s ignored: expected %s\n", name, value.c_str(), expected);
}

unsigned thread_count(const std::string& value) {
  if (value.empty()) return 0;
  char* end = nullptr;
  const unsigned long count = std::strtoul(value.c_str(), &end, 10);
  if (*end == '\0' && value[0] != '-' && count >= 1 && count <= max_threads) return static_cast<unsigned>(count);
  ignored("FASTGO_THREADS", value, "a number from 1 to 1024");
  return 0;
}

// The same folder as fastgo.assets.repository.cache_dir() on Linux.
std::string cache_folder() {
  const std::string chosen = value_of("FASTGO_CACHE_DIR");
  if (!chosen.empty()) return chosen;
  const std::string user_caches = value_of("XDG_CACHE_HOME");
  if (!user_caches.empty()) return user_caches + "/fastgo";
  const std::string home = value_of("HOME");
  return home.empty() ? "" : home + "/.cache/fastgo";
}

}  // namespace

Environment read_environment() {
  Environment environment;
  const std::string layer = value_of("MTL_DEBUG_LAYER");
  environment.debug_layer = !layer.empty() && layer != "0";
  environment.debug_layer_continues = value_of("MTL_DEBUG_LAYER_ERROR_MODE") == "nslog";
  environment.threads = thread_count(value_of("FASTGO_THREADS"));
  const std::string kernels = value_of("FASTGO_CPU_KERNELS");
  environment.cpu_overrides = kernels != "msl";
  if (!kernels.empty() && kernels != "msl" && kernels != "native") {
    ignored("FASTGO_CPU_KERNELS", kernels, "msl or native");
  }
  environment.cpu_isa = value_of("FASTGO_CPU_ISA");
  environment.nvrtc = value_of("FASTGO_NVRTC");
  environment.cublas = value_of("FASTGO_CUBLAS");
  const std::string cache = cache_folder();
  environment.cuda_cache = cache.empty() ? "" : cache + "/cuda";
  return environment;
}

}  // namespace softmetal
