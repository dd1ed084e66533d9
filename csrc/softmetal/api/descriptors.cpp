// Getters and setters of the descriptors.
#include "softmetal/api/descriptors.h"

#include <cstring>

#include "softmetal/foundation/values.h"
#include "softmetal/validation/report.h"

namespace MTL {

using softmetal::impl;
namespace validation = softmetal::validation;

HeapDescriptor* HeapDescriptor::alloc() { return new softmetal::HeapDescriptorImpl; }
HeapDescriptor* HeapDescriptor::init() { return this; }
CPUCacheMode HeapDescriptor::cpuCacheMode() const { return impl(this)->cache_mode; }
HazardTrackingMode HeapDescriptor::hazardTrackingMode() const { return impl(this)->tracking; }
ResourceOptions HeapDescriptor::resourceOptions() const {
  return cpuCacheMode() | storageMode() << 4 | hazardTrackingMode() << 8;
}
void HeapDescriptor::setCpuCacheMode(MTL::CPUCacheMode mode) { impl(this)->cache_mode = mode; }
void HeapDescriptor::setHazardTrackingMode(MTL::HazardTrackingMode mode) { impl(this)->tracking = mode; }
void HeapDescriptor::setResourceOptions(MTL::ResourceOptions options) {
  setCpuCacheMode(static_cast<CPUCacheMode>(options & 0xf));
  setStorageMode(static_cast<StorageMode>(options >> 4 & 0xf));
  setHazardTrackingMode(static_cast<HazardTrackingMode>(options >> 8 & 3));
}
void HeapDescriptor::setSize(NS::UInteger size) { impl(this)->size = size; }
void HeapDescriptor::setStorageMode(MTL::StorageMode mode) { impl(this)->storage_mode = mode; }
void HeapDescriptor::setType(MTL::HeapType type) { impl(this)->type = type; }
NS::UInteger HeapDescriptor::size() const { return impl(this)->size; }
StorageMode HeapDescriptor::storageMode() const { return impl(this)->storage_mode; }
HeapType HeapDescriptor::type() const { return impl(this)->type; }

CompileOptions* CompileOptions::alloc() { return new softmetal::CompileOptionsImpl; }
CompileOptions* CompileOptions::init() { return this; }
bool CompileOptions::fastMathEnabled() const { return impl(this)->math_mode == MathModeFast; }
LanguageVersion CompileOptions::languageVersion() const { return impl(this)->language_version; }
MathMode CompileOptions::mathMode() const { return impl(this)->math_mode; }
void CompileOptions::setFastMathEnabled(bool enabled) { impl(this)->math_mode = enabled ? MathModeFast : MathModeSafe; }
void CompileOptions::setLanguageVersion(MTL::LanguageVersion version) { impl(this)->language_version = version; }
void CompileOptions::setMathMode(MTL::MathMode mode) { impl(this)->math_mode = mode; }

namespace {

// Reports and returns false if no function constant can have the type.
bool read_constant(const void* value, DataType type, softmetal::FunctionConstantValuesImpl::Value* result) {
  constexpr const char* call = "MTL::FunctionConstantValues::setConstantValue";
  const softmetal::TypeTraits traits = softmetal::traits_of(type);
  if (!value || !traits.name || traits.size > result->bytes.size()) {
    validation::report(call, value ? "type " + std::to_string(type) + " is no type of a constant" : "value is null");
    return false;
  }
  result->type = type;
  result->bytes.fill(0);
  std::memcpy(result->bytes.data(), value, traits.size);
  return true;
}

}  // namespace

FunctionConstantValues* FunctionConstantValues::alloc() { return new softmetal::FunctionConstantValuesImpl; }
FunctionConstantValues* FunctionConstantValues::init() { return this; }
void FunctionConstantValues::reset() {
  impl(this)->by_index.clear();
  impl(this)->by_name.clear();
}
void FunctionConstantValues::setConstantValue(const void* value, MTL::DataType type, NS::UInteger index) {
  softmetal::FunctionConstantValuesImpl::Value stored;
  if (read_constant(value, type, &stored)) impl(this)->by_index[index] = stored;
}
void FunctionConstantValues::setConstantValue(const void* value, MTL::DataType type, const NS::String* name) {
  softmetal::FunctionConstantValuesImpl::Value stored;
  if (read_constant(value, type, &stored)) impl(this)->by_name[softmetal::text_of(name)] = stored;
}
void FunctionConstantValues::setConstantValues(const void* values, MTL::DataType type, NS::Range range) {
  const auto* bytes = static_cast<const unsigned char*>(values);
  const NS::UInteger size = softmetal::traits_of(type).size;
  for (NS::UInteger i = 0; i < range.length; ++i) setConstantValue(bytes + i * size, type, range.location + i);
}

ComputePipelineDescriptor* ComputePipelineDescriptor::alloc() { return new softmetal::ComputePipelineDescriptorImpl; }
ComputePipelineDescriptor* ComputePipelineDescriptor::init() { return this; }
Function* ComputePipelineDescriptor::computeFunction() const { return impl(this)->function.get(); }
NS::String* ComputePipelineDescriptor::label() const { return impl(this)->get_label(); }
NS::UInteger ComputePipelineDescriptor::maxTotalThreadsPerThreadgroup() const { return impl(this)->max_total_threads; }
void ComputePipelineDescriptor::reset() {
  impl(this)->function.reset();
  impl(this)->set_label(nullptr);
  impl(this)->max_total_threads = 0;
  impl(this)->supports_indirect = false;
  impl(this)->multiple_of_width = false;
}
void ComputePipelineDescriptor::setComputeFunction(const MTL::Function* function) {
  impl(this)->function = NS::RetainPtr(const_cast<MTL::Function*>(function));
}
void ComputePipelineDescriptor::setLabel(const NS::String* label) { impl(this)->set_label(label); }
void ComputePipelineDescriptor::setMaxTotalThreadsPerThreadgroup(NS::UInteger count) {
  impl(this)->max_total_threads = count;
}
void ComputePipelineDescriptor::setSupportIndirectCommandBuffers(bool support) {
  impl(this)->supports_indirect = support;
}
void ComputePipelineDescriptor::setThreadGroupSizeIsMultipleOfThreadExecutionWidth(bool is_multiple) {
  impl(this)->multiple_of_width = is_multiple;
}
bool ComputePipelineDescriptor::supportIndirectCommandBuffers() const { return impl(this)->supports_indirect; }
bool ComputePipelineDescriptor::threadGroupSizeIsMultipleOfThreadExecutionWidth() const {
  return impl(this)->multiple_of_width;
}

using Indirect = IndirectCommandBufferDescriptor;

Indirect* Indirect::alloc() { return new softmetal::IndirectCommandBufferDescriptorImpl; }
Indirect* Indirect::init() { return this; }
IndirectCommandType Indirect::commandTypes() const { return impl(this)->command_types; }
bool Indirect::inheritBuffers() const { return impl(this)->inherits_buffers; }
bool Indirect::inheritPipelineState() const { return impl(this)->inherits_pipeline; }
NS::UInteger Indirect::maxKernelBufferBindCount() const { return impl(this)->max_buffers; }
NS::UInteger Indirect::maxKernelThreadgroupMemoryBindCount() const { return impl(this)->max_threadgroup_memory; }
void Indirect::setCommandTypes(MTL::IndirectCommandType types) { impl(this)->command_types = types; }
void Indirect::setInheritBuffers(bool inherit) { impl(this)->inherits_buffers = inherit; }
void Indirect::setInheritPipelineState(bool inherit) { impl(this)->inherits_pipeline = inherit; }
void Indirect::setMaxKernelBufferBindCount(NS::UInteger count) { impl(this)->max_buffers = count; }
void Indirect::setMaxKernelThreadgroupMemoryBindCount(NS::UInteger count) {
  impl(this)->max_threadgroup_memory = count;
}

}  // namespace MTL
