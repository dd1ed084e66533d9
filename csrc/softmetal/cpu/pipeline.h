// A kernel chosen and specialised for this machine.
#pragma once

#include <vector>

#include "softmetal/cpu/kernel_abi.h"
#include "softmetal/cpu/overrides.h"
#include "softmetal/driver.h"

namespace softmetal::cpu {

class CpuLibrary final : public ShaderLibrary {
 public:
  const CompiledShader* shader = nullptr;
};

class CpuPipeline final : public Pipeline {
 public:
  Kernel kernel{};
  ChosenOverride native;  // replaces kernel.run if its own is set
  std::vector<ConstantValue> constants;
};

}  // namespace softmetal::cpu
