// Hands the native kernels of every instruction set in this build to the CPU driver. Compiled for the baseline only.
#include <cstdlib>
#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "cpu/native/amx_support.h"
#include "cpu/native/native.h"
#include "cpu/overrides.h"

namespace softmetal::cpu::native {

#define FASTGO_DECLARE_TABLES(isa)               \
  namespace isa {                                \
  extern const NativeTable matmul_table;         \
  extern const NativeTable attention_table;      \
  extern const NativeTable moe_table;            \
  extern const NativeTable norm_table;           \
  extern const NativeTable rope_attention_table; \
  extern const NativeTable rope_cache_table;     \
  extern const NativeTable sample_table;         \
  }

FASTGO_DECLARE_TABLES(baseline)
#if defined(__x86_64__)
FASTGO_DECLARE_TABLES(avx2)
FASTGO_DECLARE_TABLES(avx512)
namespace avx512 {
extern const NativeTable matmul_vnni_table;
}
namespace avx2 {
extern const NativeTable matmul_int16_table;
}
namespace avx512_bf16 {
extern const NativeTable matmul_bf16_table;
extern const NativeTable attention_bf16_table;
extern const NativeTable norm_table;
}  // namespace avx512_bf16
namespace avx512_amx {
extern const NativeTable matmul_amx_table;
extern const NativeTable attention_amx_table;
}  // namespace avx512_amx
#elif defined(__aarch64__)
namespace neon_dotprod {
extern const NativeTable matmul_int16_table;
}
#endif

unsigned char* scratch(std::size_t bytes) {
  constexpr std::size_t alignment = 64;
  struct Block {
    ~Block() { std::free(memory); }
    unsigned char* memory = nullptr;
    std::size_t size = 0;
  };
  thread_local Block block;
  if (bytes > block.size) {
    const std::size_t size = (bytes + bytes / 4 + alignment - 1) / alignment * alignment;
    std::free(block.memory);
    block.memory = static_cast<unsigned char*>(std::aligned_alloc(alignment, size));
    if (block.memory == nullptr) std::abort();
    block.size = size;
  }
  return block.memory;
}

namespace {

void add_table(const NativeTable& table, const char* isa, int rank, bool (*supported)()) {
  for (std::size_t i = 0; i < table.count; i++) {
    const NativeKernel& kernel = table.kernels[i];
    register_override(kernel.name, isa, rank, supported, {kernel.run, kernel.preparation, kernel.keeping});
  }
}

bool always() { return true; }

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

bool has_avx512_bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }

bool has_avx512_amx() {
  static const bool granted = has_avx512_bf16() && may_use_amx();  // asked once
  return granted;
}
#elif defined(__aarch64__)
bool has_dotprod() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#endif

// Ranks: later instruction sets win; two tables of one set may hold the same kernel at different ranks.
bool add_all() {
#if defined(__x86_64__)
  for (const NativeTable* table :
       {&avx512::matmul_table, &avx512::attention_table, &avx512::moe_table, &avx512::norm_table,
        &avx512::rope_attention_table, &avx512::rope_cache_table, &avx512::sample_table}) {
    add_table(*table, "avx512", 30, &has_avx512);
  }
  add_table(avx512_bf16::matmul_bf16_table, "avx512_bf16", 40, &has_avx512_bf16);
  add_table(avx512_bf16::attention_bf16_table, "avx512_bf16", 40, &has_avx512_bf16);
  add_table(avx512_bf16::norm_table, "avx512_bf16", 40, &has_avx512_bf16);
  add_table(avx512_amx::matmul_amx_table, "avx512_amx", 50, &has_avx512_amx);
  add_table(avx512_amx::attention_amx_table, "avx512_amx", 50, &has_avx512_amx);
  add_table(avx2::matmul_int16_table, "avx2", 21, &has_avx2);
  add_table(avx512::matmul_vnni_table, "avx512", 31, &has_avx512);
  for (const NativeTable* table : {&avx2::matmul_table, &avx2::attention_table, &avx2::moe_table, &avx2::norm_table,
                                   &avx2::rope_attention_table, &avx2::rope_cache_table, &avx2::sample_table}) {
    add_table(*table, "avx2", 20, &has_avx2);
  }
  const char* const baseline_name = "x86-64-v2";
#else
#if defined(__aarch64__)
  add_table(neon_dotprod::matmul_int16_table, "neon_dotprod", 20, &has_dotprod);
#endif
  const char* const baseline_name = "neon";
#endif
  for (const NativeTable* table :
       {&baseline::matmul_table, &baseline::attention_table, &baseline::moe_table, &baseline::norm_table,
        &baseline::rope_attention_table, &baseline::rope_cache_table, &baseline::sample_table}) {
    add_table(*table, baseline_name, 10, &always);
  }
  return true;
}

[[maybe_unused]] const bool added = add_all();

}  // namespace
}  // namespace softmetal::cpu::native
