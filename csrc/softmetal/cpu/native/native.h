// What native kernels share: the table that each instruction set exports, and scratch memory.
//
// The same sources are compiled once per instruction set, each time in a namespace of its own (FASTGO_ISA). They use no
// templates of the standard library: the linker could otherwise pick a copy compiled for another machine.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/kernel_abi.h"

namespace softmetal::cpu::native {

struct NativeKernel {
  const char* name;
  RunRange run;
  const Preparation* preparation = nullptr;
  const Keeping* keeping = nullptr;
};

// The memory that a launch has for its kernel's source `i`, or null.
inline unsigned char* kept_memory(const Launch& launch, int i) { return launch.kept ? launch.kept[i] : nullptr; }

// Whether the launch's function constant at `index` of its shader's list is set to true.
inline bool is_true(const Launch& launch, int index) {
  return launch.constants[index].defined && launch.constants[index].bytes[0] != 0;
}

struct NativeTable {
  const NativeKernel* kernels;
  std::size_t count;
};

// At least `bytes` of 64-byte aligned memory of the calling thread, valid until its next call.
unsigned char* scratch(std::size_t bytes);

}  // namespace softmetal::cpu::native
