// Every environment variable that softmetal reads, in one place.
#pragma once

#include <string>

namespace softmetal {

struct Environment {
  bool debug_layer = false;            // MTL_DEBUG_LAYER=1: validate every call
  bool debug_layer_continues = false;  // MTL_DEBUG_LAYER_ERROR_MODE=nslog: report and go on instead of aborting
  unsigned threads = 0;                // FASTGO_THREADS: threads of the CPU driver; 0: one per physical core
  bool cpu_overrides = true;           // FASTGO_CPU_KERNELS=msl turns the native kernels off
  std::string cpu_isa;     // FASTGO_CPU_ISA: the best instruction set that native kernels may use; empty: any
  std::string nvrtc;       // FASTGO_NVRTC: the file of CUDA's compiler; empty: search for it
  std::string cublas;      // FASTGO_CUBLAS: the file of cuBLASLt, or 0 to do without; empty: search for it
  std::string cuda_cache;  // folder of compiled CUDA kernels, in fastgo's cache folder; empty: keep none
};

// The present values. A value that makes no sense is reported on stderr and ignored.
Environment read_environment();

}  // namespace softmetal
