// Named tests and faults, and the checks they use.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace metal_api {

using Function = void (*)();

// Makes a test known under `name`; to be used at file scope through TEST.
struct Test {
  Test(const char* name, Function function);
};

// A wrong use of the API. With the validation layer on, the process ends with a report that contains `expected`.
struct Fault {
  Fault(const char* name, const char* expected, Function function);
};

#define TEST(name)                                       \
  static void name();                                    \
  static const metal_api::Test name##_test(#name, name); \
  static void name()

#define FAULT(name, expected)                                        \
  static void name();                                                \
  static const metal_api::Fault name##_fault(#name, expected, name); \
  static void name()

[[noreturn]] void fail(const char* file, int line, const std::string& message);

#define CHECK(condition) \
  if (!(condition)) metal_api::fail(__FILE__, __LINE__, #condition)

template <class Left, class Right>
void check_equal(const char* file, int line, const char* text, const Left& left, const Right& right) {
  if (left == right) return;
  std::ostringstream message;
  message << text << ": " << left << " != " << right;
  fail(file, line, message.str());
}

#define CHECK_EQUAL(left, right) metal_api::check_equal(__FILE__, __LINE__, #left " == " #right, left, right)

}  // namespace metal_api
