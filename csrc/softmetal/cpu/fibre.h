// Fibres: the threads of one threadgroup as coroutines on one OS thread, so that they can keep step at barriers.
//
// A group runs on the OS thread that called run_group and its fibres never leave it. A fibre gives way only in `arrive`
// and at its end; the switch is a jump that saves three registers and lets the compiler spill what else is live.
// Threads are grouped by 32 into simdgroups. Stacks are kept per OS thread and reused. Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "softmetal/cpu/kernel_abi.h"

#if defined(__SANITIZE_ADDRESS__)
#define SOFTMETAL_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define SOFTMETAL_TSAN 1
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SOFTMETAL_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define SOFTMETAL_TSAN 1
#endif
#endif

namespace softmetal::cpu {

constexpr std::uint32_t simdgroup_size = 32;
constexpr std::uint32_t max_group_threads = 1024;

// What happens when the threads of a group can't go on together (a barrier that not all reach, a stack overflow).
// The group is given up; the handler may throw through the kernel's run function.
using FaultHandler = void (*)(const char* message);

// Replaces the handler for all threads and returns the one before. The first one prints the message and aborts.
FaultHandler set_fault_handler(FaultHandler handler);
void report_fault(const char* message);

struct Simdgroup;
struct Group;

// Where a fibre stands while it does not run.
struct Context {
  void* instruction;
  void* stack;
  void* frame;
};

struct Fibre {
  Context context;  // first, at the offsets that the switch uses
  Simdgroup* simdgroup;
  Fibre* next;  // the ring of the simdgroup's live lanes
  Fibre* previous;
  std::uint32_t lane;
  std::uint32_t index;  // in the threadgroup
  unsigned char* stack_bottom;
  void* sanitizer_state;
};

// What the lanes of a simdgroup wait for. `complete` runs once, when the last live lane has come.
struct Meeting {
  void (*complete)(Simdgroup&);
  const char* name;
};

constexpr std::size_t max_operand_size = 64;

struct Simdgroup {
  std::uint32_t arrived;
  std::uint32_t live;
  const Meeting* meeting;
  Group* group;
  Simdgroup* next;  // the ring of the group's simdgroups
  Fibre* first;     // a live lane
  bool at_barrier;
  alignas(64) unsigned char operands[simdgroup_size * max_operand_size];  // by lane, written before arriving
  alignas(64) unsigned char results[simdgroup_size * max_operand_size];   // by lane, or one for all
};

extern const Meeting threadgroup_meeting;

#if defined(__linux__) && !defined(SOFTMETAL_NO_INITIAL_EXEC)
#define SOFTMETAL_TLS __attribute__((tls_model("initial-exec")))
#else
#define SOFTMETAL_TLS
#endif
extern thread_local Fibre* current_fibre SOFTMETAL_TLS;
extern thread_local unsigned char* current_memory SOFTMETAL_TLS;

// Runs body(argument, i) for i in [0, threads) as fibres that share threadgroup memory, until all have returned.
void run_group(const char* kernel, const Threadgroup& place, std::uint32_t threads, void (*body)(void*, std::uint32_t),
               void* argument);

// Threadgroup memory of this OS thread, at least `size` bytes, aligned to 128; valid until the next call.
void reserve_group_memory(std::size_t size);

inline void* group_memory(std::size_t offset) { return current_memory + offset; }

namespace detail {

// Completes what the last lane to arrive finds, or names the fibre that runs next; does not return on a fault.
Fibre* meet_at_barrier(Fibre* self);
[[noreturn]] void diverged(Fibre* self, const Meeting& meeting);
void before_switch(Fibre* from, Fibre* to);
void after_switch(Fibre* self);

#if defined(SOFTMETAL_ASAN) || defined(SOFTMETAL_TSAN)
constexpr bool annotate_switches = true;
#else
constexpr bool annotate_switches = false;
#endif

// Stores the running context in `from` and goes on in `to`; returns when something switches back.
__attribute__((always_inline)) inline void switch_context(Fibre* from, Fibre* to) {
  if (annotate_switches) before_switch(from, to);
#if defined(__x86_64__)
  Fibre* target = to;
  Fibre* source = from;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "movq %%rax, 0(%%rsi)\n\t"
      "movq %%rsp, 8(%%rsi)\n\t"
      "movq %%rbp, 16(%%rsi)\n\t"
      "movq 8(%%rdi), %%rsp\n\t"
      "movq 16(%%rdi), %%rbp\n\t"
      "jmpq *0(%%rdi)\n\t"
      "1:\n\t"
      : "+D"(target), "+S"(source)
      :
      : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc", "xmm0",
        "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
        "xmm14", "xmm15"
#if defined(__AVX512F__)
        ,
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",
        "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#endif
  );
#elif defined(__aarch64__)
  register Fibre* target asm("x0") = to;
  register Fibre* source asm("x1") = from;
  asm volatile(
      "adr x2, 1f\n\t"
      "mov x3, sp\n\t"
      "stp x2, x3, [x1]\n\t"
      "str x29, [x1, #16]\n\t"
      "ldp x2, x3, [x0]\n\t"
      "ldr x29, [x0, #16]\n\t"
      "mov sp, x3\n\t"
      "br x2\n\t"
      "1:\n\t"
      : "+r"(target), "+r"(source)
      :
      : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x18",
        "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "memory", "cc", "v0", "v1", "v2",
        "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19",
        "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
#else
#error "softmetal's fibres know x86-64 and AArch64 only"
#endif
  if (annotate_switches) after_switch(from);
}

}  // namespace detail

// The running lane waits until every live lane of its simdgroup has come to `meeting`.
__attribute__((always_inline)) inline void arrive(const Meeting& meeting) {
  Fibre* self = current_fibre;
  Simdgroup& simdgroup = *self->simdgroup;
  if (simdgroup.arrived == 0) {
    simdgroup.meeting = &meeting;
  } else if (simdgroup.meeting != &meeting) {
    detail::diverged(self, meeting);
  }
  simdgroup.arrived |= 1u << self->lane;
  Fibre* next = self->next;
  if (simdgroup.arrived == simdgroup.live) {
    if (&meeting != &threadgroup_meeting) {
      meeting.complete(simdgroup);
      simdgroup.arrived = 0;
      return;
    }
    next = detail::meet_at_barrier(self);
    if (next == nullptr) return;
  }
  current_fibre = next;
  detail::switch_context(self, next);
}

// The running thread waits until every thread of its threadgroup has come to a barrier.
inline void wait_at_threadgroup_barrier() { arrive(threadgroup_meeting); }

}  // namespace softmetal::cpu
