// The label that most objects carry, and the way in which devices make objects.
#pragma once

#include <utility>

#include "Metal/Metal.hpp"
#include "softmetal/validation/registry.h"

namespace softmetal {

class Labelled {
 public:
  Labelled() = default;
  Labelled(const Labelled&) = delete;
  Labelled& operator=(const Labelled&) = delete;
  ~Labelled() { set_label(nullptr); }

  NS::String* get_label() const { return label_; }
  const NS::String* const* label_address() const { return &label_; }

  void set_label(const NS::String* label) {
    NS::String* next = const_cast<NS::String*>(label);
    if (next) next->retain();
    if (label_) label_->release();
    label_ = next;
  }

 private:
  NS::String* label_ = nullptr;
};

// An object that the validation layer knows from now on.
template <class Impl, class... Arguments>
Impl* make_object(Arguments&&... arguments) {
  Impl* object = new Impl(std::forward<Arguments>(arguments)...);
  validation::track(object, object->label_address());
  return object;
}

}  // namespace softmetal
