// The one cache of compute pipelines, keyed by kernel name and function constants.
//
// A shader file is compiled when the first of its kernels is asked for. Thread-safe.
#pragma once

#include <Metal/Metal.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>

#include "metal/telemetry.h"
#include "shader_table.h"

namespace fastgo::metal {

using ConstantValue = std::variant<bool, std::int64_t, double>;
using Constants = std::map<std::string, ConstantValue>;

// A compiled kernel with what the engine knows about its arguments.
struct Pipeline {
  NS::SharedPtr<MTL::ComputePipelineState> state;
  const KernelReflection* reflection = nullptr;
};

class Pipelines {
 public:
  Pipelines(MTL::Device* device, std::shared_ptr<Telemetry> telemetry)
      : device_(device), telemetry_(std::move(telemetry)) {}

  // Throws Error for an unknown kernel or constant, or when the device's compiler refuses the shader.
  const Pipeline& get(const std::string& kernel, const Constants& constants);

 private:
  MTL::Library* library(const ShaderFile& file);
  Pipeline build(const ShaderFile& file, const KernelReflection& kernel, const Constants& constants);

  MTL::Device* device_;
  std::shared_ptr<Telemetry> telemetry_;
  std::mutex mutex_;
  std::map<const ShaderFile*, NS::SharedPtr<MTL::Library>> libraries_;
  std::map<std::pair<std::string, Constants>, Pipeline> pipelines_;
};

// The file and reflection of a kernel by its host name; throws Error if there is none.
struct KernelEntry {
  const ShaderFile* file;
  const KernelReflection* kernel;
};
KernelEntry find_kernel(const std::string& name);

}  // namespace fastgo::metal
