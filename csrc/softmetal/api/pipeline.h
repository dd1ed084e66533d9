// The classes behind MTL::Library, MTL::Function and MTL::ComputePipelineState.
#pragma once

#include <memory>
#include <vector>

#include "softmetal/api/device.h"

namespace softmetal {

class LibraryImpl final : public MTL::Library, public Labelled {
 public:
  const char* class_name() const override { return "MTL::Library"; }
  DeviceImpl* device = nullptr;
  std::shared_ptr<const ShaderLibrary> shaders;
};

class FunctionImpl final : public MTL::Function, public Labelled {
 public:
  const char* class_name() const override { return "MTL::Function"; }
  DeviceImpl* device = nullptr;
  std::shared_ptr<const ShaderLibrary> shaders;
  std::uint32_t kernel = 0;  // in shaders->file
  std::vector<ConstantSetting> constants;
  NS::SharedPtr<NS::String> name_string;
};

class ComputePipelineStateImpl final : public MTL::ComputePipelineState, public Labelled {
 public:
  const char* class_name() const override { return "MTL::ComputePipelineState"; }

  const fastgo::KernelReflection& reflection() const { return *pipeline->reflection; }
  std::string kernel_name() const { return std::string("kernel \"") + reflection().name + "\""; }

  DeviceImpl* device = nullptr;
  std::shared_ptr<const ShaderLibrary> shaders;  // holds what the reflection points at
  std::unique_ptr<Pipeline> pipeline;
  std::uint32_t max_total_threads = 0;
  bool supports_indirect = false;
  bool whole_simdgroups = false;  // threadGroupSizeIsMultipleOfThreadExecutionWidth
};

inline LibraryImpl* impl(const MTL::Library* library) {
  return static_cast<LibraryImpl*>(const_cast<MTL::Library*>(library));
}
inline FunctionImpl* impl(const MTL::Function* function) {
  return static_cast<FunctionImpl*>(const_cast<MTL::Function*>(function));
}
inline ComputePipelineStateImpl* impl(const MTL::ComputePipelineState* state) {
  return static_cast<ComputePipelineStateImpl*>(const_cast<MTL::ComputePipelineState*>(state));
}

inline constexpr const char* library_error_domain = "MTLLibraryErrorDomain";
inline constexpr const char* pipeline_error_domain = "MTLComputePipelineErrorDomain";

}  // namespace softmetal
