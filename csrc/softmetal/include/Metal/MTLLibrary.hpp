// Shader libraries, their kernels, and how they are compiled and specialised.
#pragma once

#include "MTLDataType.hpp"
#include "MTLTypes.hpp"

namespace MTL {

class Device;

enum LanguageVersion : NS::UInteger {
  LanguageVersion1_0 = 65536,
  LanguageVersion1_1 = 65537,
  LanguageVersion1_2 = 65538,
  LanguageVersion2_0 = 131072,
  LanguageVersion2_1 = 131073,
  LanguageVersion2_2 = 131074,
  LanguageVersion2_3 = 131075,
  LanguageVersion2_4 = 131076,
  LanguageVersion3_0 = 196608,
  LanguageVersion3_1 = 196609,
  LanguageVersion3_2 = 196610,
  LanguageVersion4_0 = 262144,
};

enum MathMode : NS::Integer {
  MathModeSafe = 0,
  MathModeRelaxed = 1,
  MathModeFast = 2,
};

enum LibraryError : NS::UInteger {
  LibraryErrorUnsupported = 1,
  LibraryErrorInternal = 2,
  LibraryErrorCompileFailure = 3,
  LibraryErrorCompileWarning = 4,
  LibraryErrorFunctionNotFound = 5,
  LibraryErrorFileNotFound = 6,
};

enum FunctionType : NS::UInteger {
  FunctionTypeVertex = 1,
  FunctionTypeFragment = 2,
  FunctionTypeKernel = 3,
};

class CompileOptions : public NS::Copying<CompileOptions> {
 public:
  static CompileOptions* alloc();
  CompileOptions* init();

  bool fastMathEnabled() const;
  LanguageVersion languageVersion() const;
  MathMode mathMode() const;
  void setFastMathEnabled(bool fastMathEnabled);
  void setLanguageVersion(MTL::LanguageVersion languageVersion);
  void setMathMode(MTL::MathMode mathMode);  // macOS 15
};

class FunctionConstantValues : public NS::Copying<FunctionConstantValues> {
 public:
  static FunctionConstantValues* alloc();
  FunctionConstantValues* init();

  void reset();
  void setConstantValue(const void* value, MTL::DataType type, NS::UInteger index);
  void setConstantValue(const void* value, MTL::DataType type, const NS::String* name);
  void setConstantValues(const void* values, MTL::DataType type, NS::Range range);
};

class Function : public NS::Referencing<Function> {
 public:
  Device* device() const;
  FunctionType functionType() const;
  NS::String* label() const;
  NS::String* name() const;
  void setLabel(const NS::String* label);
};

class Library : public NS::Referencing<Library> {
 public:
  Device* device() const;
  NS::Array* functionNames() const;
  NS::String* label() const;
  Function* newFunction(const NS::String* functionName);
  Function* newFunction(const NS::String* name, const MTL::FunctionConstantValues* constantValues, NS::Error** error);
  void setLabel(const NS::String* label);
};

}  // namespace MTL
