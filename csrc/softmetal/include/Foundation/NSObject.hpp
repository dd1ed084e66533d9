// Reference-counted objects with metal-cpp's ownership rules.
//
// Functions named alloc, new..., copy or Create... return an object that the caller owns; every other function returns
// one that is autoreleased or owned by somebody else. Unlike Objective-C, no member function may be called through a
// null pointer; SharedPtr takes care of that for retain and release.
#pragma once

#include <atomic>
#include <cstddef>

#include "NSTypes.hpp"

namespace softmetal {

// What Objective-C's runtime keeps for each object. Only softmetal's own classes derive from the public ones: they are
// abstract because of class_name(), so that none can be made on the stack or with new.
class ObjectBase {
 public:
  ObjectBase(const ObjectBase&) = delete;
  ObjectBase& operator=(const ObjectBase&) = delete;
  static void* operator new(std::size_t size);
  static void operator delete(void* pointer, std::size_t size);

  // The public class, e.g. "MTL::Buffer".
  virtual const char* class_name() const = 0;

 protected:
  ObjectBase() = default;
  virtual ~ObjectBase();

 private:
  friend void retain(const ObjectBase* object);
  friend void release(const ObjectBase* object);
  friend NS::UInteger retain_count(const ObjectBase* object);

  mutable std::atomic<NS::UInteger> references_{1};
};

void retain(const ObjectBase* object);
void release(const ObjectBase* object);
void autorelease(const ObjectBase* object);
NS::UInteger retain_count(const ObjectBase* object);

}  // namespace softmetal

namespace NS {

class Object;
class String;

template <class _Class, class _Base = Object>
class Referencing : public _Base {
 public:
  _Class* retain() {
    softmetal::retain(this);
    return static_cast<_Class*>(this);
  }
  void release() { softmetal::release(this); }
  _Class* autorelease() {
    softmetal::autorelease(this);
    return static_cast<_Class*>(this);
  }
  UInteger retainCount() const { return softmetal::retain_count(this); }
};

class Object : public Referencing<Object, softmetal::ObjectBase> {
 public:
  UInteger hash() const;
  bool isEqual(const Object* pObject) const;
  String* description() const;
};

// metal-cpp declares copy() here; nothing in this subset needs it.
template <class _Class, class _Base = Object>
class Copying : public Referencing<_Class, _Base> {};

}  // namespace NS
