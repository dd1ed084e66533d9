// The Metal standard library as one text for NVRTC; written by tools/flatten.py from shaders/compat/metal_cuda.
#pragma once

namespace softmetal::cuda {

extern const char metal_stdlib[];

}  // namespace softmetal::cuda
