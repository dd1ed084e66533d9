// Knows every live object while the validation layer is on, so that released and foreign ones are found before use.
#pragma once

#include "Foundation/Foundation.hpp"

namespace softmetal::validation {

// Called for each object that a device makes. `label` points at the object's own label, which may be null.
void track(const ObjectBase* object, const NS::String* const* label);

// Called when any object dies; unknown ones are ignored.
void untrack(const ObjectBase* object);

// Whether `object` may be used: not null and, with the layer on, alive. Otherwise reports the call and the argument.
bool alive(const ObjectBase* object, const char* call, const char* argument = "this object");

// Whether retain and release may touch `object`; only objects known to be released are refused.
bool not_released(const ObjectBase* object, const char* call);

// Frees `pointer`, later if the layer is on, so that a dangling pointer does not meet a new object.
void free_object(void* pointer);

// Names the objects still alive, one line each.
void report_leaks();

}  // namespace softmetal::validation
