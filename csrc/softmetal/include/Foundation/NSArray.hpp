// Immutable arrays that retain their elements.
#pragma once

#include "NSObject.hpp"

namespace NS {

class Array : public Copying<Array> {
 public:
  static Array* array();
  static Array* array(const Object* pObject);
  static Array* array(const Object* const* pObjects, UInteger count);

  static Array* alloc();
  Array* init();
  Array* init(const Object* const* pObjects, UInteger count);

  template <class _Object = Object>
  _Object* object(UInteger index) const {
    return static_cast<_Object*>(object_at(index));
  }
  UInteger count() const;

 private:
  Object* object_at(UInteger index) const;
};

}  // namespace NS
