// A kernel compiled for one GPU, with its function constants built in.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softmetal/cuda/code_cache.h"
#include "softmetal/cuda/context.h"
#include "softmetal/cuda/nvrtc.h"
#include "softmetal/cuda/shader_registry.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

class CudaLibrary final : public ShaderLibrary {
 public:
  const TranslatedShader* shader = nullptr;
};

class CudaPipeline final : public Pipeline {
 public:
  CudaPipeline(std::shared_ptr<Context> device, ModuleHandle code, FunctionHandle entry)
      : function(entry), context_(std::move(device)), module_(code) {}
  ~CudaPipeline() override;

  FunctionHandle function;
  std::vector<ConstantSetting> constants;  // in the order of the reflection's

 private:
  std::shared_ptr<Context> context_;
  ModuleHandle module_;
};

// A kernel of a shader, as Driver::make_pipeline takes it.
struct KernelChoice {
  const TranslatedShader& shader;
  std::uint32_t kernel;
  const std::vector<ConstantSetting>& constants;
  bool whole_simdgroups;
};

// Compiles or finds in the cache, and loads; null, and the reason in `problem`, on failure.
std::unique_ptr<CudaPipeline> build_pipeline(const std::shared_ptr<Context>& context, const Nvrtc& nvrtc,
                                             const CodeCache& cache, const KernelChoice& choice, std::string* problem);

}  // namespace softmetal::cuda
