// The validation layer's switch and its output.
#include "softmetal/validation/report.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "softmetal/validation/registry.h"

namespace softmetal::validation {
namespace {

std::atomic<bool> layer_on{false};
std::atomic<bool> go_on{false};

// One write, so that reports of several threads do not mix.
void print(const std::string& line) {
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void configure(const Environment& environment) {
  go_on.store(environment.debug_layer_continues, std::memory_order_relaxed);
  if (environment.debug_layer && !layer_on.exchange(true)) std::atexit(report_leaks);
}

bool enabled() { return layer_on.load(std::memory_order_relaxed); }

void report(const char* call, const std::string& message) {
  if (!enabled()) return;
  print(std::string("softmetal validation: ") + call + ": " + message + "\n");
  if (!go_on.load(std::memory_order_relaxed)) std::abort();
}

void report_unimplemented(const char* call, const std::string& message) {
  print(std::string("softmetal: ") + call + ": not implemented: " + message + "\n");
  if (enabled() && !go_on.load(std::memory_order_relaxed)) std::abort();
}

void note(const std::string& message) {
  if (enabled()) print("softmetal validation: " + message + "\n");
}

}  // namespace softmetal::validation
