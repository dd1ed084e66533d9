// A smart pointer over retain and release.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "NSObject.hpp"

namespace NS {

template <class _Class>
class SharedPtr {
  template <class _Other>
  using if_convertible = std::enable_if_t<std::is_convertible_v<_Other*, _Class*>>;

 public:
  SharedPtr() = default;
  SharedPtr(std::nullptr_t) noexcept {}
  SharedPtr(const SharedPtr& other) noexcept : m_pObject(retained(other.get())) {}
  SharedPtr(SharedPtr&& other) noexcept : m_pObject(std::exchange(other.m_pObject, nullptr)) {}
  template <class _OtherClass, class = if_convertible<_OtherClass>>
  SharedPtr(const SharedPtr<_OtherClass>& other) noexcept : m_pObject(retained(other.get())) {}
  template <class _OtherClass, class = if_convertible<_OtherClass>>
  SharedPtr(SharedPtr<_OtherClass>&& other) noexcept : m_pObject(other.get()) {
    other.detach();
  }
  ~SharedPtr() { reset(); }

  SharedPtr& operator=(const SharedPtr& other) {
    SharedPtr(other).swap(*this);
    return *this;
  }
  SharedPtr& operator=(SharedPtr&& other) {
    SharedPtr(std::move(other)).swap(*this);
    return *this;
  }
  template <class _OtherClass, class = if_convertible<_OtherClass>>
  SharedPtr& operator=(const SharedPtr<_OtherClass>& other) {
    SharedPtr(other).swap(*this);
    return *this;
  }
  template <class _OtherClass, class = if_convertible<_OtherClass>>
  SharedPtr& operator=(SharedPtr<_OtherClass>&& other) {
    SharedPtr(std::move(other)).swap(*this);
    return *this;
  }

  _Class* get() const { return m_pObject; }
  _Class* operator->() const { return m_pObject; }
  explicit operator bool() const { return m_pObject != nullptr; }

  void reset() {
    if (_Class* object = std::exchange(m_pObject, nullptr)) object->release();
  }
  void detach() { m_pObject = nullptr; }

  template <class _OtherClass>
  friend SharedPtr<_OtherClass> RetainPtr(_OtherClass* ptr);
  template <class _OtherClass>
  friend SharedPtr<_OtherClass> TransferPtr(_OtherClass* ptr);

 private:
  template <class _Other>
  static _Class* retained(_Other* object) {
    if (object) object->retain();
    return object;
  }
  void swap(SharedPtr& other) noexcept { std::swap(m_pObject, other.m_pObject); }

  _Class* m_pObject = nullptr;
};

// Shares an object that somebody else owns.
template <class _Class>
SharedPtr<_Class> RetainPtr(_Class* pObject) {
  SharedPtr<_Class> result;
  result.m_pObject = SharedPtr<_Class>::retained(pObject);
  return result;
}

// Takes over an object that the caller owns, e.g. the result of newBuffer.
template <class _Class>
SharedPtr<_Class> TransferPtr(_Class* pObject) {
  SharedPtr<_Class> result;
  result.m_pObject = pObject;
  return result;
}

template <class _Left, class _Right>
bool operator==(const SharedPtr<_Left>& left, const SharedPtr<_Right>& right) {
  return left.get() == right.get();
}

template <class _Left, class _Right>
bool operator!=(const SharedPtr<_Left>& left, const SharedPtr<_Right>& right) {
  return left.get() != right.get();
}

}  // namespace NS
