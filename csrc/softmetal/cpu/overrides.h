// Native kernels that replace a translated one: same name, same arguments, written for an instruction set.
#pragma once

#include <string>

#include "softmetal/cpu/kernel_abi.h"
#include "softmetal/environment.h"

namespace softmetal::cpu {

// `isa`: the name that FASTGO_CPU_ISA knows, e.g. "avx2"; `rank` orders instruction sets, higher is better;
// `supported` says whether this machine can run it. What is pointed to lives as long as the process.
struct ChosenOverride {
  RunRange run = nullptr;
  const Preparation* preparation = nullptr;
  const Keeping* keeping = nullptr;
};
void register_override(const char* kernel_name, const char* isa, int rank, bool (*supported)(),
                       const ChosenOverride& kernel);

// The best registered kernel that the machine supports and `environment` allows; nulls if there is none.
ChosenOverride choose_override(const char* kernel_name, const Environment& environment);

// The best instruction set of any kernel that may be chosen; "msl" if the shaders themselves run.
std::string kernel_set_name(const Environment& environment);

}  // namespace softmetal::cpu
