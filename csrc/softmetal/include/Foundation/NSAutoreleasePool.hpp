// Pools that release autoreleased objects. A thread without a pool keeps them until it ends.
#pragma once

#include "NSObject.hpp"

namespace NS {

class AutoreleasePool : public Referencing<AutoreleasePool> {
 public:
  static AutoreleasePool* alloc();
  AutoreleasePool* init();

  void drain();  // like release(): the pool is gone afterwards
  void addObject(Object* pObject);
};

}  // namespace NS
