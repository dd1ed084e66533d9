// The contract between the C++ that mslc writes from a shader and the CPU driver that runs it.
//
// A threadgroup is the unit of work. mslc gives each kernel one function that runs a whole threadgroup: plain loops
// for kernels without barriers, fibres in lock step for the rest. A native override replaces it for a range of groups.
#pragma once

#include <cstdint>

#include "shader_table.h"

namespace softmetal::cpu {

struct Size3 {
  std::uint32_t x, y, z;
};

// A function constant's value as set on the pipeline, in the order of KernelReflection::constants.
struct ConstantValue {
  bool defined;
  alignas(16) unsigned char bytes[16];
};

// What all threadgroups of one dispatch share.
struct Launch {
  void* const* buffers;  // by [[buffer(n)]] index, offset already added; 31 entries
  Size3 threads_per_grid;
  Size3 threadgroups_per_grid;
  Size3 threads_per_threadgroup;                 // as dispatched
  const std::uint32_t* threadgroup_memory_size;  // dynamic memory by [[threadgroup(n)]] index, bytes; 31 entries
  const ConstantValue* constants;
  unsigned char* prepared = nullptr;  // what the kernel's Preparation filled, 64-byte aligned; null if there is none
  std::uint64_t prepared_bytes = 0;
  unsigned char* const* kept = nullptr;  // what the kernel's Keeping asked for, a source each; null where there is none
};

// One threadgroup. `threads` is smaller than dispatched at the edge of a dispatchThreads grid.
struct Threadgroup {
  Size3 position;
  Size3 threads;
};

using RunThreadgroup = void (*)(const Launch&, const Threadgroup&);

// Runs the threadgroups [begin, end) of the grid in linear order, x fastest.
using RunRange = void (*)(const Launch&, std::uint64_t begin, std::uint64_t end);

// What all pieces of a native kernel share and the threads make together in a stage of its own just before, such as
// rounded inputs. Launches of a stage with the same `run`, source buffer and size share one.
struct Preparation {
  std::uint64_t (*bytes)(const Launch&);  // of memory; 0 if this launch needs none. Reads arguments when planned
  std::uint64_t (*units)(const Launch&);  // what `run` counts in
  RunRange run;                           // fills launch.prepared
  int source;                             // index of the buffer that it reads
};

// What a native kernel makes of buffers that do not change, and keeps: weights in the order in which it reads them. It
// gets memory for that, zeroed at first, once a program has run some times; later runs and other programs find there
// what it has left.
inline constexpr int most_kept = 2;
struct Keeping {
  std::uint64_t (*bytes)(const Launch&);  // of memory for each source; 0 if this launch keeps nothing
  int count;
  int sources[most_kept];  // indices of the buffers
};

struct Kernel {
  const char* name;
  RunThreadgroup run;
  std::uint32_t static_threadgroup_memory;  // bytes
  bool uses_fibres;
};

// One translated shader file; `source` of its table entry is the key under which newLibrary finds it.
struct CompiledShader {
  const fastgo::ShaderFile* file;
  const Kernel* kernels;  // in the order of file->kernels
};

}  // namespace softmetal::cpu
