// The command line: --list, --run NAME, --list-faults, --fault NAME. Exit status 0: passed, 1: failed, 2: unknown name.
#include "harness.h"

#include <Metal/Metal.hpp>
#include <iostream>
#include <map>

namespace metal_api {
namespace {

struct FaultEntry {
  std::string expected;
  Function function;
};

std::map<std::string, Function>& tests() {
  static std::map<std::string, Function> entries;
  return entries;
}

std::map<std::string, FaultEntry>& faults() {
  static std::map<std::string, FaultEntry> entries;
  return entries;
}

int run(Function function) {
  const auto pool = NS::TransferPtr(NS::AutoreleasePool::alloc()->init());
  try {
    function();
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}

int list() {
  for (const auto& entry : tests()) std::cout << entry.first << "\n";
  return 0;
}

int list_faults() {
  for (const auto& entry : faults()) std::cout << entry.first << "\t" << entry.second.expected << "\n";
  return 0;
}

}  // namespace

Test::Test(const char* name, Function function) { tests()[name] = function; }

Fault::Fault(const char* name, const char* expected, Function function) { faults()[name] = {expected, function}; }

void fail(const char* file, int line, const std::string& message) {
  throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": " + message);
}

int main(int argument_count, char** arguments) {
  const std::string option = argument_count > 1 ? arguments[1] : "";
  const std::string name = argument_count > 2 ? arguments[2] : "";
  if (option == "--list") return list();
  if (option == "--list-faults") return list_faults();
  if (option == "--run" && tests().count(name)) return run(tests().at(name));
  if (option == "--fault" && faults().count(name)) return run(faults().at(name).function);
  std::cerr << "usage: --list | --run NAME | --list-faults | --fault NAME; unknown: " << option << " " << name << "\n";
  return 2;
}

}  // namespace metal_api

int main(int argument_count, char** arguments) { return metal_api::main(argument_count, arguments); }
