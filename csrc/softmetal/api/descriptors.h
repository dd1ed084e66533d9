// The descriptors that describe heaps, pipelines, libraries and indirect command buffers: values that devices read.
#pragma once

#include <array>
#include <map>
#include <string>

#include "softmetal/api/labelled.h"

namespace softmetal {

class HeapDescriptorImpl final : public MTL::HeapDescriptor {
 public:
  const char* class_name() const override { return "MTL::HeapDescriptor"; }
  NS::UInteger size = 0;
  MTL::HeapType type = MTL::HeapTypeAutomatic;
  MTL::StorageMode storage_mode = MTL::StorageModePrivate;
  MTL::CPUCacheMode cache_mode = MTL::CPUCacheModeDefaultCache;
  MTL::HazardTrackingMode tracking = MTL::HazardTrackingModeDefault;
};

class CompileOptionsImpl final : public MTL::CompileOptions {
 public:
  const char* class_name() const override { return "MTL::CompileOptions"; }
  MTL::LanguageVersion language_version = MTL::LanguageVersion3_1;
  MTL::MathMode math_mode = MTL::MathModeFast;
};

class FunctionConstantValuesImpl final : public MTL::FunctionConstantValues {
 public:
  const char* class_name() const override { return "MTL::FunctionConstantValues"; }

  struct Value {
    MTL::DataType type;
    std::array<unsigned char, 16> bytes;
  };
  std::map<NS::UInteger, Value> by_index;
  std::map<std::string, Value> by_name;
};

class ComputePipelineDescriptorImpl final : public MTL::ComputePipelineDescriptor, public Labelled {
 public:
  const char* class_name() const override { return "MTL::ComputePipelineDescriptor"; }
  NS::SharedPtr<MTL::Function> function;
  NS::UInteger max_total_threads = 0;
  bool supports_indirect = false;
  bool multiple_of_width = false;
};

class IndirectCommandBufferDescriptorImpl final : public MTL::IndirectCommandBufferDescriptor {
 public:
  const char* class_name() const override { return "MTL::IndirectCommandBufferDescriptor"; }
  MTL::IndirectCommandType command_types = 0;
  bool inherits_buffers = true;
  bool inherits_pipeline = true;
  NS::UInteger max_buffers = 31;
  NS::UInteger max_threadgroup_memory = 31;
};

inline HeapDescriptorImpl* impl(const MTL::HeapDescriptor* descriptor) {
  return static_cast<HeapDescriptorImpl*>(const_cast<MTL::HeapDescriptor*>(descriptor));
}
inline CompileOptionsImpl* impl(const MTL::CompileOptions* options) {
  return static_cast<CompileOptionsImpl*>(const_cast<MTL::CompileOptions*>(options));
}
inline FunctionConstantValuesImpl* impl(const MTL::FunctionConstantValues* values) {
  return static_cast<FunctionConstantValuesImpl*>(const_cast<MTL::FunctionConstantValues*>(values));
}
inline ComputePipelineDescriptorImpl* impl(const MTL::ComputePipelineDescriptor* descriptor) {
  return static_cast<ComputePipelineDescriptorImpl*>(const_cast<MTL::ComputePipelineDescriptor*>(descriptor));
}
inline IndirectCommandBufferDescriptorImpl* impl(const MTL::IndirectCommandBufferDescriptor* descriptor) {
  return static_cast<IndirectCommandBufferDescriptorImpl*>(
      const_cast<MTL::IndirectCommandBufferDescriptor*>(descriptor));
}

struct TypeTraits {
  const char* name;    // in MSL
  std::uint32_t size;  // bytes
};

// The MSL type behind a data type; a null name for those that no function constant can have.
TypeTraits traits_of(MTL::DataType type);

}  // namespace softmetal
