// Errors as returned through NS::Error** (autoreleased) and by MTL::CommandBuffer::error().
#pragma once

#include "NSString.hpp"

namespace NS {

using ErrorDomain = class String*;

class Error : public Copying<Error> {
 public:
  static Error* error(ErrorDomain domain, Integer code, class Dictionary* pDictionary);

  Integer code() const;
  ErrorDomain domain() const;
  String* localizedDescription() const;
};

}  // namespace NS
