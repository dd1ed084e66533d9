// From a kernel's name to Metal's pipeline: the library of its file, its function constants, its compilation.
#include "metal/pipelines.h"

#include <cstring>
#include <unordered_map>

#include "metal/autorelease.h"
#include "metal/error.h"
#include "metal/shader_list.h"

namespace fastgo::metal {
namespace {

void set_constant(MTL::FunctionConstantValues* values, const ConstantReflection& constant, const ConstantValue& value) {
  const auto number = [&](auto as) { return std::visit([&](auto v) { return static_cast<decltype(as)>(v); }, value); };
  const std::string type = constant.type;
  if (type == "bool") {
    const bool v = number(false);
    values->setConstantValue(&v, MTL::DataTypeBool, constant.index);
  } else if (type == "uint") {
    const auto v = number(std::uint32_t{});
    values->setConstantValue(&v, MTL::DataTypeUInt, constant.index);
  } else if (type == "int") {
    const auto v = number(std::int32_t{});
    values->setConstantValue(&v, MTL::DataTypeInt, constant.index);
  } else if (type == "float") {
    const auto v = number(float{});
    values->setConstantValue(&v, MTL::DataTypeFloat, constant.index);
  } else {
    throw Error("function constant " + std::string(constant.name) + " has type " + type +
                ", expected bool, int, uint or float");
  }
}

}  // namespace

KernelEntry find_kernel(const std::string& name) {
  static const auto* const table = [] {
    auto* entries = new std::unordered_map<std::string, KernelEntry>;
    for (std::size_t f = 0; f < shader_file_count; f++) {
      const ShaderFile* file = shader_files[f];
      for (std::uint32_t k = 0; k < file->kernel_count; k++) {
        entries->emplace(file->kernels[k].name, KernelEntry{file, &file->kernels[k]});
      }
    }
    return entries;
  }();
  const auto found = table->find(name);
  if (found == table->end()) throw Error("there is no kernel named " + name);
  return found->second;
}

const Pipeline& Pipelines::get(const std::string& kernel, const Constants& constants) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto key = std::make_pair(kernel, constants);
  if (const auto found = pipelines_.find(key); found != pipelines_.end()) {
    telemetry_->pipeline_hits++;
    return found->second;
  }
  telemetry_->pipeline_misses++;
  const AutoreleaseScope scope;
  const KernelEntry entry = find_kernel(kernel);
  return pipelines_.emplace(key, build(*entry.file, *entry.kernel, constants)).first->second;
}

MTL::Library* Pipelines::library(const ShaderFile& file) {
  if (const auto found = libraries_.find(&file); found != libraries_.end()) return found->second.get();
  const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setLanguageVersion(MTL::LanguageVersion3_1);
  // Softmax and norms rely on exact special values.
  options->setFastMathEnabled(false);
  NS::Error* error = nullptr;
  auto library = NS::TransferPtr(device_->newLibrary(ns_string(file.source), options.get(), &error));
  if (!library) throw Error("the device can't compile shader " + std::string(file.name) + ": " + describe(error));
  return libraries_.emplace(&file, std::move(library)).first->second.get();
}

Pipeline Pipelines::build(const ShaderFile& file, const KernelReflection& kernel, const Constants& constants) {
  const auto values = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  for (const auto& [name, value] : constants) {
    const ConstantReflection* found = nullptr;
    for (std::uint32_t c = 0; c < kernel.constant_count; c++) {
      if (name == kernel.constants[c].name) found = &kernel.constants[c];
    }
    if (found == nullptr) throw Error("kernel " + std::string(kernel.name) + " has no function constant " + name);
    set_constant(values.get(), *found, value);
  }
  NS::Error* error = nullptr;
  const auto function = NS::TransferPtr(library(file)->newFunction(ns_string(kernel.name), values.get(), &error));
  if (!function) throw Error("kernel " + std::string(kernel.name) + " can't be specialised: " + describe(error));
  const auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
  descriptor->setComputeFunction(function.get());
  descriptor->setSupportIndirectCommandBuffers(true);
  descriptor->setThreadGroupSizeIsMultipleOfThreadExecutionWidth(true);
  descriptor->setLabel(ns_string(kernel.name));
  auto state =
      NS::TransferPtr(device_->newComputePipelineState(descriptor.get(), MTL::PipelineOptionNone, nullptr, &error));
  if (!state) throw Error("kernel " + std::string(kernel.name) + " can't be compiled: " + describe(error));
  return Pipeline{std::move(state), &kernel};
}

}  // namespace fastgo::metal
