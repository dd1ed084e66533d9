// Errors that a correct program must expect.
#include "kernels.h"

using namespace metal_api;

namespace {

std::string description(NS::Error* error) {
  CHECK(error);
  return error->localizedDescription()->utf8String();
}

}  // namespace

TEST(unknown_source_is_an_error) {
  NS::Error* error = nullptr;
  CHECK(!device()->newLibrary(text("kernel void broken( {"), nullptr, &error));
  CHECK(!description(error).empty());
  CHECK(error->domain()->isEqualToString(text("MTLLibraryErrorDomain")));
  CHECK_EQUAL(error->code(), NS::Integer(MTL::LibraryErrorCompileFailure));
  NS::Error** nowhere = nullptr;
  CHECK(!device()->newLibrary(text("kernel void broken( {"), nullptr, nowhere));
}

TEST(unknown_function_is_null) {
  CHECK(!library()->newFunction(text("no_such_kernel")));
  const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  NS::Error* error = nullptr;
  CHECK(!library()->newFunction(text("no_such_kernel"), constants.get(), &error));
  CHECK(description(error).find("no_such_kernel") != std::string::npos);
}

TEST(wrong_type_of_function_constant_is_an_error) {
  const float value = 1.0f;
  const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  constants->setConstantValue(&value, MTL::DataTypeFloat, NS::UInteger(0));
  NS::Error* error = nullptr;
  CHECK(!library("specialised")->newFunction(text("specialised"), constants.get(), &error));
  CHECK(description(error).find("factor") != std::string::npos);
}

// The error of a pipeline of `kernel` in specialised.metal, with `factor` set or nothing; empty if it could be made.
std::string pipeline_error(const char* kernel, bool with_factor) {
  const int factor = 3;
  const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  if (with_factor) constants->setConstantValue(&factor, MTL::DataTypeInt, NS::UInteger(0));
  NS::Error* error = nullptr;
  const auto function = NS::TransferPtr(library("specialised")->newFunction(text(kernel), constants.get(), &error));
  CHECK(function.get());
  const auto state = NS::TransferPtr(device()->newComputePipelineState(function.get(), &error));
  CHECK_EQUAL(state.get() == nullptr, error != nullptr);
  return error ? description(error) : "";
}

TEST(pipeline_without_its_function_constants_is_an_error) {
  CHECK_EQUAL(pipeline_error("specialised", false),
              std::string("kernel \"specialised\" uses function constants without a value: factor, negate"));
  CHECK_EQUAL(pipeline_error("specialised", true),
              std::string("kernel \"specialised\" uses function constants without a value: negate"));
  const auto plain = NS::TransferPtr(library("specialised")->newFunction(text("specialised")));
  CHECK(!device()->newComputePipelineState(plain.get(), static_cast<NS::Error**>(nullptr)));
}

TEST(function_constants_may_be_left_out_where_the_shader_asks) {
  CHECK_EQUAL(pipeline_error("asks_first", false), std::string());
  CHECK_EQUAL(pipeline_error("uses_none", false), std::string());
}

TEST(libraries_name_their_functions) {
  NS::Array* names = library()->functionNames();
  CHECK(names->count() >= 10);
  bool found = false;
  for (NS::UInteger i = 0; i < names->count(); ++i) {
    found |= names->object<NS::String>(i)->isEqualToString(text("reverse_dynamic"));
  }
  CHECK(found);
}

TEST(descriptors_limit_threads) {
  const auto function = NS::TransferPtr(library()->newFunction(text("line")));
  const auto descriptor = NS::TransferPtr(MTL::ComputePipelineDescriptor::alloc()->init());
  descriptor->setComputeFunction(function.get());
  descriptor->setMaxTotalThreadsPerThreadgroup(96);
  descriptor->setLabel(text("limited"));
  const auto state =
      NS::TransferPtr(device()->newComputePipelineState(descriptor.get(), MTL::PipelineOptionNone, nullptr, nullptr));
  CHECK_EQUAL(state->maxTotalThreadsPerThreadgroup(), 96u);
  CHECK(state->label()->isEqualToString(text("limited")));
  CHECK(!state->supportIndirectCommandBuffers());
  CHECK(pipeline("line", true)->supportIndirectCommandBuffers());
}
