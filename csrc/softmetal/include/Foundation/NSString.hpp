// Immutable text. Only UTF-8 and its ASCII subset are accepted.
#pragma once

#include "NSObject.hpp"

namespace NS {

enum StringEncoding : UInteger {
  ASCIIStringEncoding = 1,
  UTF8StringEncoding = 4,
};

class String : public Copying<String> {
 public:
  static String* string();
  static String* string(const String* pString);
  static String* string(const char* pString, StringEncoding encoding);

  static String* alloc();
  String* init();
  String* init(const String* pString);
  String* init(const char* pString, StringEncoding encoding);

  UInteger length() const;  // UTF-16 code units
  const char* cString(StringEncoding encoding) const;
  const char* utf8String() const;
  UInteger lengthOfBytes(StringEncoding encoding) const;

  bool isEqualToString(const String* pString) const;
  String* stringByAppendingString(const String* pString) const;
};

}  // namespace NS

namespace softmetal {

// A string that lives as long as the process, one per text.
NS::String* constant_string(const char* literal);

}  // namespace softmetal

#define MTLSTR(literal) softmetal::constant_string("" literal "")
