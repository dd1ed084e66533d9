// Whether this process may use the processor's AMX tiles.
#pragma once

namespace softmetal::cpu::native {

// The processor has tiles and products of bfloat16 and of bytes, the system keeps their state, and the kernel grants it
// to this process. Asking is what makes the kernel grant it, to all threads; false on other architectures.
bool may_use_amx();

}  // namespace softmetal::cpu::native
