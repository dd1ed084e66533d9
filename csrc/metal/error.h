// The one exception of the Metal half; the bindings turn it into fastgo.errors.DeviceError.
#pragma once

#include <Foundation/Foundation.hpp>
#include <stdexcept>
#include <string>

namespace fastgo::metal {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An allocation that the device refused; `fastgo.errors.OutOfMemoryError` in Python.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

inline std::string describe(const NS::Error* error) {
  if (error == nullptr || error->localizedDescription() == nullptr) return "no reason given";
  return error->localizedDescription()->utf8String();
}

inline NS::String* ns_string(const std::string& text) {
  return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}

}  // namespace fastgo::metal
