// Native kernels that replace a translated one: same name, same arguments, written for an instruction set.
#pragma once

#include <string>

#include "softmetal/cpu/kernel_abi.h"
#include "softmetal/environment.h"

namespace softmetal::cpu {

// `isa`: the name that FASTGO_CPU_ISA knows, e.g. "avx2"; `rank` orders instruction sets, higher is better;
// `supported` says whether this machine can run it. Strings and `preparation` live as long as the process.
void register_override(const char* kernel_name, const char* isa, int rank, bool (*supported)(), RunRange run,
                       const Preparation* preparation = nullptr);

struct ChosenOverride {
  RunRange run = nullptr;
  const Preparation* preparation = nullptr;
};

// The best registered kernel that the machine supports and `environment` allows; nulls if there is none.
ChosenOverride choose_override(const char* kernel_name, const Environment& environment);

// The best instruction set of any kernel that may be chosen; "msl" if the shaders themselves run.
std::string kernel_set_name(const Environment& environment);

}  // namespace softmetal::cpu
