// The first fault wins.
#include "softmetal/cpu/fault.h"

#include "softmetal/cpu/fibre.h"

namespace softmetal::cpu {

void throw_kernel_faults() {
  set_fault_handler([](const char* message) { throw KernelFault(message); });
}

void FaultSink::record(const std::string& message) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (message_.empty()) message_ = message;
  faulted_.store(true, std::memory_order_relaxed);
}

std::string FaultSink::message() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return message_;
}

}  // namespace softmetal::cpu
