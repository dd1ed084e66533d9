// Collects the first fault of a run; later pieces of the run are skipped.
#pragma once

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <string>

namespace softmetal::cpu {

// Thrown through a kernel's run function by the handler of report_fault.
class KernelFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// From here on, a fault of a kernel is thrown as a KernelFault instead of ending the process.
void throw_kernel_faults();

class FaultSink {
 public:
  bool faulted() const { return faulted_.load(std::memory_order_relaxed); }
  void record(const std::string& message);
  std::string message() const;  // empty if there was none

 private:
  std::atomic<bool> faulted_{false};
  mutable std::mutex mutex_;
  std::string message_;
};

}  // namespace softmetal::cpu
