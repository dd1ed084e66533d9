// The shaders that were translated to CUDA C++ at build time, found by their source text.
#pragma once

#include <cstddef>
#include <string>

#include "shader_table.h"

namespace softmetal::cuda {

// `text` holds an entry point for each kernel of the file, chosen by the macro SOFTMETAL_KERNEL = its number.
struct TranslatedShader {
  const fastgo::ShaderFile* file;
  const char* text;
};

// Makes shaders known to MTL::Device::newLibrary; the tables live as long as the process.
void register_shaders(const TranslatedShader* const* shaders, std::size_t count);

// Null if the text is unknown.
const TranslatedShader* find_shader(const std::string& source);

// By the file's stem.
const TranslatedShader* find_shader_file(const std::string& name);

}  // namespace softmetal::cuda
