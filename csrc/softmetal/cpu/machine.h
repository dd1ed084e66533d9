// What the operating system says about this machine, as far as this process may use it.
#pragma once

#include <cstdint>
#include <string>

namespace softmetal::cpu {

// Cores that this process may use, each counted once however many hardware threads it has; at least 1.
unsigned physical_cores();

// Memory in bytes: all that this process may come to use, and what of it is free now, or would be if the system took it
// back from its caches of files.
std::uint64_t usable_memory();
std::uint64_t available_memory();

std::uint64_t page_size();  // bytes
std::string processor_name();

// Of a file as Linux shows its facts; empty where there is none.
std::string first_line(const std::string& path);

}  // namespace softmetal::cpu
