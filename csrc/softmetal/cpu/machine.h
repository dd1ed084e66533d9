// What the operating system says about this machine.
#pragma once

#include <cstdint>
#include <string>

namespace softmetal::cpu {

// Cores that this process may use, each counted once however many hardware threads it has; at least 1.
unsigned physical_cores();

std::uint64_t physical_memory();  // bytes
std::uint64_t page_size();        // bytes
std::string processor_name();

}  // namespace softmetal::cpu
