// The classes behind NS::String, NS::Error and NS::Array, and short ways to make them.
#pragma once

#include <string>
#include <vector>

#include "Foundation/Foundation.hpp"

namespace softmetal {

class StringImpl final : public NS::String {
 public:
  const char* class_name() const override { return "NS::String"; }
  std::string text;
};

class ErrorImpl final : public NS::Error {
 public:
  const char* class_name() const override { return "NS::Error"; }
  NS::SharedPtr<NS::String> domain;
  NS::SharedPtr<NS::String> description;
  NS::Integer code = 0;
};

class ArrayImpl final : public NS::Array {
 public:
  const char* class_name() const override { return "NS::Array"; }
  std::vector<NS::SharedPtr<NS::Object>> objects;
};

// The text, or "" for null.
std::string text_of(const NS::String* string);

// Objects that the caller owns.
NS::SharedPtr<NS::String> make_string(const std::string& text);
NS::SharedPtr<NS::Error> make_error(const char* domain, NS::Integer code, const std::string& description);

// Stores an autoreleased error where the caller asked for one.
void set_error(NS::Error** error, const char* domain, NS::Integer code, const std::string& description);

}  // namespace softmetal
