// What mslc knows about each shader file: the source text and the reflection of its kernels.
//
// Generated tables of these types are linked into every build: on Apple for naming arguments, elsewhere also for
// softmetal's validation. Plain data, no Metal types. Sizes and offsets are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastgo {

enum class ArgumentKind : std::uint8_t { buffer, threadgroup_memory };

// `read` for `constant` and `const device` arguments, `read_write` for the rest.
enum class Access : std::uint8_t { read, read_write };

// One member of a struct that a kernel takes through a `constant` reference or pointer.
struct FieldReflection {
  const char* name;
  const char* type;      // MSL scalar or vector type, e.g. "uint", "float4", "ulong"
  std::uint32_t offset;  // from the start of the struct
  std::uint32_t size;    // of one element
  std::uint32_t count;   // array length, 1 if it is none
};

struct ArgumentReflection {
  const char* name;
  const char* type;  // the pointee, e.g. "float", "RmsNormArgs"
  ArgumentKind kind;
  Access access;
  std::uint32_t index;         // n of [[buffer(n)]] or [[threadgroup(n)]]
  std::uint32_t pointee_size;  // sizeof the pointee; 0 for threadgroup memory of unknown type
  std::uint32_t alignment;     // of the pointee; a bound offset must be a multiple of it
  bool is_reference;           // the whole pointee is read: the bound range must hold at least pointee_size
  const FieldReflection* fields;
  std::uint32_t field_count;
};

struct ConstantReflection {
  const char* name;
  const char* type;     // MSL scalar or vector type
  std::uint32_t index;  // n of [[function_constant(n)]]
  std::uint32_t size;
};

struct KernelReflection {
  const char* name;  // the host name
  const ArgumentReflection* arguments;
  std::uint32_t argument_count;
  const ConstantReflection* constants;  // those of the whole file
  std::uint32_t constant_count;
  std::uint32_t max_total_threads;          // [[max_total_threads_per_threadgroup(n)]], else 1024
  const std::uint16_t* required_constants;  // positions in `constants` of those that a pipeline can't be made without
  std::uint32_t required_constant_count;
};

struct ShaderFile {
  const char* name;    // file stem, e.g. "rms_norm"
  const char* source;  // MSL text with local includes inlined, as handed to MTL::Device::newLibrary
  const KernelReflection* kernels;
  std::uint32_t kernel_count;
};

}  // namespace fastgo
