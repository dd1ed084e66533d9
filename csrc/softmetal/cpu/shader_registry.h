// The shaders that were translated to C++ at build time, found by their source text.
#pragma once

#include <cstddef>
#include <string>

#include "softmetal/cpu/kernel_abi.h"

namespace softmetal::cpu {

// Makes shaders known to MTL::Device::newLibrary; the tables live as long as the process.
void register_shaders(const CompiledShader* const* shaders, std::size_t count);

// Null if the text is unknown.
const CompiledShader* find_shader(const std::string& source);

}  // namespace softmetal::cpu
