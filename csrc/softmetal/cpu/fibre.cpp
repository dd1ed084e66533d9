// Stacks, scheduling at barriers and ends, and faults of the fibres that fibre.h describes.
//
// Order of running: the lanes of one simdgroup go round in a ring until all of them wait at the threadgroup's barrier
// or have returned; then the next simdgroup runs. All waiting lanes of a simdgroup wait for the same meeting (anything
// else is reported at once), so the next lane of the ring can always run and no search is needed.
#include "softmetal/cpu/fibre.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#if defined(SOFTMETAL_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(SOFTMETAL_TSAN)
#include <sanitizer/tsan_interface.h>
// ThreadSanitizer counts calls and returns by fibre, so what switches must not be counted.
#define SOFTMETAL_UNCOUNTED __attribute__((no_sanitize("thread")))
#else
#define SOFTMETAL_UNCOUNTED
#endif

namespace softmetal::cpu {

const Meeting threadgroup_meeting = {nullptr, "threadgroup_barrier"};

thread_local Fibre* current_fibre = nullptr;
thread_local unsigned char* current_memory = nullptr;

struct Group {
  Fibre main;  // the caller of run_group
  const char* kernel;
  Size3 position;
  void (*body)(void*, std::uint32_t);
  void* argument;
  std::uint32_t threads;
  std::uint32_t returned;
  std::uint32_t simdgroup_count;
  std::uint32_t live_simdgroups;
  std::uint32_t waiting_simdgroups;
  Simdgroup* first;
  char fault[512];
};

namespace {

// 64 KiB and a few cache lines: equal frames of neighbouring lanes fall into different cache sets.
constexpr std::size_t stack_size = 65536 + 9 * 64;
constexpr std::size_t guard_size = 65536;  // a page on any of our systems
constexpr std::size_t block_size = guard_size + simdgroup_size * stack_size;
constexpr std::uint64_t canary = 0x5AFE57ACC0FFEE11u;
constexpr std::size_t memory_alignment = 128;

void print_and_abort(const char* message) {
  std::fprintf(stderr, "softmetal: fault: %s\n", message);
  std::abort();
}

std::atomic<FaultHandler> fault_handler{&print_and_abort};

// The stacks and lanes of one OS thread, made a simdgroup at a time.
class Pool {
 public:
  Pool() { simdgroups_.reserve(max_group_threads / simdgroup_size); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  ~Pool() {
    for (Lanes& lanes : lanes_) {
      release_sanitizer_state(lanes);
      munmap(lanes.block, block_size);
    }
    std::free(memory_);
  }

  // False if the system has no memory for the stacks.
  bool grow(std::uint32_t simdgroups) {
    while (lanes_.size() < simdgroups) {
      void* block = mmap(nullptr, block_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (block == MAP_FAILED) return false;
      mprotect(block, guard_size, PROT_NONE);
      lanes_.push_back({block, std::make_unique<Fibre[]>(simdgroup_size)});
      simdgroups_.push_back(std::make_unique<Simdgroup>());
      for (std::uint32_t lane = 0; lane < simdgroup_size; lane++) {
        Fibre& fibre = lanes_.back().fibres[lane];
        fibre.stack_bottom = static_cast<unsigned char*>(block) + guard_size + lane * stack_size;
        *reinterpret_cast<std::uint64_t*>(fibre.stack_bottom) = canary;
#if defined(SOFTMETAL_TSAN)
        fibre.sanitizer_state = __tsan_create_fiber(0);
#endif
      }
    }
    return true;
  }

  Fibre* lanes(std::uint32_t simdgroup) { return lanes_[simdgroup].fibres.get(); }
  Simdgroup& simdgroup(std::uint32_t index) { return *simdgroups_[index]; }

  void reserve(std::size_t size) {
    if (size <= memory_size_) return;
    std::free(memory_);
    memory_size_ = (size + 4095) / 4096 * 4096;
    memory_ = static_cast<unsigned char*>(std::aligned_alloc(memory_alignment, memory_size_));
    if (memory_ == nullptr) {
      memory_size_ = 0;
      throw std::bad_alloc();
    }
    current_memory = memory_;
  }

 private:
  struct Lanes {
    void* block;
    std::unique_ptr<Fibre[]> fibres;
  };

  static void release_sanitizer_state([[maybe_unused]] Lanes& lanes) {
#if defined(SOFTMETAL_TSAN)
    for (std::uint32_t lane = 0; lane < simdgroup_size; lane++)
      __tsan_destroy_fiber(lanes.fibres[lane].sanitizer_state);
#endif
  }

  std::vector<Lanes> lanes_;
  std::vector<std::unique_ptr<Simdgroup>> simdgroups_;
  unsigned char* memory_ = nullptr;
  std::size_t memory_size_ = 0;
};

Pool& pool() {
  thread_local Pool instance;
  return instance;
}

#if defined(SOFTMETAL_ASAN)
thread_local const void* main_stack_bottom = nullptr;
thread_local std::size_t main_stack_size = 0;
#endif

// The next simdgroup of the ring with lanes that can run; null if there is none.
Simdgroup* next_simdgroup(Simdgroup* from) {
  Simdgroup* candidate = from;
  do {
    candidate = candidate->next;
    if (candidate->live != 0 && !candidate->at_barrier) return candidate;
  } while (candidate != from);
  return nullptr;
}

[[noreturn]] SOFTMETAL_UNCOUNTED void leave(Fibre* self, Fibre* to) {
  current_fibre = to;
  detail::switch_context(self, to);
  std::abort();  // nothing switches back to a fibre that has ended
}

[[noreturn]] SOFTMETAL_UNCOUNTED void give_up(Fibre* self) { leave(self, &self->simdgroup->group->main); }

void describe(Group& group, const char* format, const char* one, const char* other) {
  int used = std::snprintf(group.fault, sizeof(group.fault), "kernel %s, threadgroup (%u, %u, %u): ", group.kernel,
                           group.position.x, group.position.y, group.position.z);
  if (used > 0 && static_cast<std::size_t>(used) < sizeof(group.fault)) {
    std::snprintf(group.fault + used, sizeof(group.fault) - static_cast<std::size_t>(used), format, one, other);
  }
}

void release_barrier(Group& group) {
  group.waiting_simdgroups = 0;
  Simdgroup* simdgroup = group.first;
  do {
    if (simdgroup->at_barrier) {
      simdgroup->at_barrier = false;
      simdgroup->arrived = 0;
    }
    simdgroup = simdgroup->next;
  } while (simdgroup != group.first);
}

// All live lanes of `simdgroup` are at the barrier: lets everyone go, or gives the fibre to run meanwhile.
Fibre* simdgroup_at_barrier(Fibre* self, Simdgroup& simdgroup) {
  Group& group = *simdgroup.group;
  simdgroup.at_barrier = true;
  group.waiting_simdgroups++;
  if (group.waiting_simdgroups < group.live_simdgroups) return next_simdgroup(&simdgroup)->first;
  if (group.returned != 0) {
    describe(group, "some threads wait at a threadgroup_barrier that others never reach: they have returned", "", "");
    give_up(self);
  }
  release_barrier(group);
  return nullptr;
}

void unlink(Fibre* self) {
  Simdgroup& simdgroup = *self->simdgroup;
  self->previous->next = self->next;
  self->next->previous = self->previous;
  simdgroup.live &= ~(1u << self->lane);
  if (simdgroup.first == self) simdgroup.first = self->next;
}

// The fibre that runs after `self` has returned.
Fibre* successor(Fibre* self) {
  Simdgroup& simdgroup = *self->simdgroup;
  Group& group = *simdgroup.group;
  group.returned++;
  unlink(self);
  if (simdgroup.live != 0) {
    if (simdgroup.arrived != simdgroup.live) return self->next;
    if (simdgroup.meeting == &threadgroup_meeting) {
      Fibre* next = simdgroup_at_barrier(self, simdgroup);
      return next != nullptr ? next : self->next;
    }
    simdgroup.meeting->complete(simdgroup);
    simdgroup.arrived = 0;
    return self->next;
  }
  group.live_simdgroups--;
  if (group.live_simdgroups == 0) return &group.main;
  if (Simdgroup* next = next_simdgroup(&simdgroup)) return next->first;
  describe(group, "some threads wait at a threadgroup_barrier that others never reach: they have returned", "", "");
  return &group.main;
}

[[noreturn]] SOFTMETAL_UNCOUNTED void fibre_main(Fibre* self) {
  if (detail::annotate_switches) detail::after_switch(nullptr);
  Group& group = *self->simdgroup->group;
  group.body(group.argument, self->index);
  if (*reinterpret_cast<const std::uint64_t*>(self->stack_bottom) != canary) {
    describe(group, "a thread has overflowed its stack of 64 KiB", "", "");
    give_up(self);
  }
  leave(self, successor(self));
}

void prepare(Fibre& fibre, Simdgroup& simdgroup, std::uint32_t lane, std::uint32_t index) {
  auto top = (reinterpret_cast<std::uintptr_t>(fibre.stack_bottom) + stack_size) & ~std::uintptr_t{63};
#if defined(SOFTMETAL_ASAN)
  __asan_unpoison_memory_region(fibre.stack_bottom, stack_size);
#endif
#if defined(__x86_64__)
  top -= sizeof(void*);  // as if called: the stack pointer of a function's first instruction
  *reinterpret_cast<void**>(top) = nullptr;
#endif
  fibre.context = {reinterpret_cast<void*>(&fibre_main), reinterpret_cast<void*>(top), nullptr};
  fibre.simdgroup = &simdgroup;
  fibre.lane = lane;
  fibre.index = index;
}

void prepare(Pool& owner, Group& group) {
  group.first = &owner.simdgroup(0);
  for (std::uint32_t s = 0; s < group.simdgroup_count; s++) {
    Simdgroup& simdgroup = owner.simdgroup(s);
    Fibre* lanes = owner.lanes(s);
    std::uint32_t count = group.threads - s * simdgroup_size;
    if (count > simdgroup_size) count = simdgroup_size;
    for (std::uint32_t lane = 0; lane < count; lane++) {
      prepare(lanes[lane], simdgroup, lane, s * simdgroup_size + lane);
      lanes[lane].next = &lanes[lane + 1 == count ? 0 : lane + 1];
      lanes[lane].previous = &lanes[lane == 0 ? count - 1 : lane - 1];
    }
    simdgroup.arrived = 0;
    simdgroup.live = count == simdgroup_size ? ~0u : (1u << count) - 1;
    simdgroup.meeting = nullptr;
    simdgroup.group = &group;
    simdgroup.next = &owner.simdgroup(s + 1 == group.simdgroup_count ? 0 : s + 1);
    simdgroup.first = lanes;
    simdgroup.at_barrier = false;
  }
}

}  // namespace

FaultHandler set_fault_handler(FaultHandler handler) { return fault_handler.exchange(handler); }

void report_fault(const char* message) { fault_handler.load()(message); }

void reserve_group_memory(std::size_t size) { pool().reserve(size); }

void run_group(const char* kernel, const Threadgroup& place, std::uint32_t threads, void (*body)(void*, std::uint32_t),
               void* argument) {
  if (threads == 0) return;
  Group group{};
  group.kernel = kernel;
  group.position = place.position;
  group.body = body;
  group.argument = argument;
  group.threads = threads;
  group.simdgroup_count = (threads + simdgroup_size - 1) / simdgroup_size;
  group.live_simdgroups = group.simdgroup_count;
  Pool& owner = pool();
  if (threads > max_group_threads || !owner.grow(group.simdgroup_count)) {
    describe(group, "no stacks for so many threads (at most 1024)", "", "");
    report_fault(group.fault);
    return;
  }
  prepare(owner, group);
#if defined(SOFTMETAL_TSAN)
  group.main.sanitizer_state = __tsan_get_current_fiber();
#endif
  current_fibre = group.first->first;
  detail::switch_context(&group.main, current_fibre);
  current_fibre = nullptr;
  if (group.fault[0] != '\0') report_fault(group.fault);
}

namespace detail {

Fibre* meet_at_barrier(Fibre* self) { return simdgroup_at_barrier(self, *self->simdgroup); }

void diverged(Fibre* self, const Meeting& meeting) {
  Simdgroup& simdgroup = *self->simdgroup;
  describe(*simdgroup.group, "threads of one simdgroup wait in different places: %s and %s", simdgroup.meeting->name,
           meeting.name);
  give_up(self);
}

SOFTMETAL_UNCOUNTED void before_switch([[maybe_unused]] Fibre* from, [[maybe_unused]] Fibre* to) {
#if defined(SOFTMETAL_ASAN)
  const bool to_main = to->stack_bottom == nullptr;
  __sanitizer_start_switch_fiber(&from->sanitizer_state, to_main ? main_stack_bottom : to->stack_bottom,
                                 to_main ? main_stack_size : stack_size);
#endif
#if defined(SOFTMETAL_TSAN)
  __tsan_switch_to_fiber(to->sanitizer_state, 0);
#endif
}

SOFTMETAL_UNCOUNTED void after_switch([[maybe_unused]] Fibre* self) {
#if defined(SOFTMETAL_ASAN)
  const bool first_time = self == nullptr;
  const void* bottom = nullptr;
  std::size_t size = 0;
  __sanitizer_finish_switch_fiber(first_time ? nullptr : self->sanitizer_state, &bottom, &size);
  if (first_time && main_stack_size == 0) {
    main_stack_bottom = bottom;
    main_stack_size = size;
  }
#endif
}

}  // namespace detail

}  // namespace softmetal::cpu
