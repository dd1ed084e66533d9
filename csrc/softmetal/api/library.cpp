// Libraries, functions and their constants.
#include <algorithm>

#include "softmetal/api/descriptors.h"
#include "softmetal/api/pipeline.h"
#include "softmetal/foundation/values.h"
#include "softmetal/validation/report.h"

namespace softmetal {
namespace {

// The value given for a constant, by index or by name; null if there is none.
const FunctionConstantValuesImpl::Value* given_value(const FunctionConstantValuesImpl& values,
                                                     const fastgo::ConstantReflection& constant) {
  const auto by_index = values.by_index.find(constant.index);
  if (by_index != values.by_index.end()) return &by_index->second;
  const auto by_name = values.by_name.find(constant.name);
  return by_name == values.by_name.end() ? nullptr : &by_name->second;
}

// Fills `settings`; returns what is wrong, or "".
std::string apply_constants(const fastgo::KernelReflection& kernel, const FunctionConstantValuesImpl* values,
                            std::vector<ConstantSetting>* settings) {
  settings->assign(kernel.constant_count, ConstantSetting{});
  if (!values) return "";
  for (std::uint32_t i = 0; i < kernel.constant_count; ++i) {
    const fastgo::ConstantReflection& constant = kernel.constants[i];
    const FunctionConstantValuesImpl::Value* value = given_value(*values, constant);
    if (!value) continue;
    const TypeTraits traits = traits_of(value->type);
    if (std::string(constant.type) != traits.name) {
      return std::string("function constant \"") + constant.name + "\" of kernel \"" + kernel.name + "\" is a " +
             constant.type + " but a " + traits.name + " was given";
    }
    (*settings)[i].defined = true;
    (*settings)[i].bytes = value->bytes;
  }
  return "";
}

// The position of a kernel in the file, or kernel_count.
std::uint32_t find_kernel(const fastgo::ShaderFile& file, const std::string& name) {
  const auto* end = file.kernels + file.kernel_count;
  const auto* found = std::find_if(file.kernels, end, [&](const auto& kernel) { return name == kernel.name; });
  return static_cast<std::uint32_t>(found - file.kernels);
}

FunctionImpl* make_function(LibraryImpl& library, const std::string& name, const FunctionConstantValuesImpl* values,
                            std::string* problem) {
  const fastgo::ShaderFile& file = *library.shaders->file;
  const std::uint32_t kernel = find_kernel(file, name);
  if (kernel == file.kernel_count) {
    *problem = std::string("library \"") + file.name + "\" has no kernel \"" + name + "\"";
    return nullptr;
  }
  std::vector<ConstantSetting> constants;
  *problem = apply_constants(file.kernels[kernel], values, &constants);
  if (!problem->empty()) return nullptr;
  FunctionImpl* function = make_object<FunctionImpl>();
  function->device = library.device;
  function->shaders = library.shaders;
  function->kernel = kernel;
  function->constants = std::move(constants);
  function->name_string = make_string(name);
  return function;
}

}  // namespace
}  // namespace softmetal

namespace MTL {

using softmetal::impl;
namespace validation = softmetal::validation;

Device* Library::device() const { return impl(this)->device; }

NS::Array* Library::functionNames() const {
  const fastgo::ShaderFile& file = *impl(this)->shaders->file;
  std::vector<NS::SharedPtr<NS::String>> names;
  std::vector<const NS::Object*> objects;
  for (std::uint32_t i = 0; i < file.kernel_count; ++i) {
    names.push_back(softmetal::make_string(file.kernels[i].name));
    objects.push_back(names.back().get());
  }
  return NS::Array::array(objects.data(), objects.size());
}

NS::String* Library::label() const { return impl(this)->get_label(); }

Function* Library::newFunction(const NS::String* functionName) {
  if (!validation::alive(this, "MTL::Library::newFunction")) return nullptr;
  std::string problem;
  return softmetal::make_function(*impl(this), softmetal::text_of(functionName), nullptr, &problem);
}

Function* Library::newFunction(const NS::String* name, const MTL::FunctionConstantValues* constantValues,
                               NS::Error** error) {
  if (!validation::alive(this, "MTL::Library::newFunction")) return nullptr;
  std::string problem;
  const auto* values = constantValues ? impl(constantValues) : nullptr;
  Function* function = softmetal::make_function(*impl(this), softmetal::text_of(name), values, &problem);
  if (!function) softmetal::set_error(error, softmetal::library_error_domain, LibraryErrorFunctionNotFound, problem);
  return function;
}

void Library::setLabel(const NS::String* label) { impl(this)->set_label(label); }

Device* Function::device() const { return impl(this)->device; }
FunctionType Function::functionType() const { return FunctionTypeKernel; }
NS::String* Function::label() const { return impl(this)->get_label(); }
NS::String* Function::name() const { return impl(this)->name_string.get(); }
void Function::setLabel(const NS::String* label) { impl(this)->set_label(label); }

Device* ComputePipelineState::device() const { return impl(this)->device; }
NS::String* ComputePipelineState::label() const { return impl(this)->get_label(); }
NS::UInteger ComputePipelineState::maxTotalThreadsPerThreadgroup() const { return impl(this)->max_total_threads; }
NS::UInteger ComputePipelineState::staticThreadgroupMemoryLength() const {
  return impl(this)->pipeline->static_threadgroup_memory;
}
bool ComputePipelineState::supportIndirectCommandBuffers() const { return impl(this)->supports_indirect; }
NS::UInteger ComputePipelineState::threadExecutionWidth() const { return softmetal::simdgroup_width; }

}  // namespace MTL
