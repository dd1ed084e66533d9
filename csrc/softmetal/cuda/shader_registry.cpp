// Source text -> translated shader.
#include "softmetal/cuda/shader_registry.h"

#include <mutex>
#include <string_view>
#include <unordered_map>

namespace softmetal::cuda {
namespace {

struct Registry {
  std::mutex mutex;
  std::unordered_map<std::string_view, const TranslatedShader*> shaders;
};

// Built on first use, because tables register themselves while static objects are constructed.
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

}  // namespace

void register_shaders(const TranslatedShader* const* shaders, std::size_t count) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  for (std::size_t i = 0; i < count; ++i) r.shaders[shaders[i]->file->source] = shaders[i];
}

const TranslatedShader* find_shader(const std::string& source) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const auto found = r.shaders.find(source);
  return found == r.shaders.end() ? nullptr : found->second;
}

const TranslatedShader* find_shader_file(const std::string& name) {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  for (const auto& [source, shader] : r.shaders) {
    if (name == shader->file->name) return shader;
  }
  return nullptr;
}

}  // namespace softmetal::cuda
