// Strings, errors and arrays.
#include "softmetal/foundation/values.h"

#include <map>
#include <mutex>

namespace softmetal {
namespace {

StringImpl* impl(const NS::String* string) { return static_cast<StringImpl*>(const_cast<NS::String*>(string)); }
const ErrorImpl* impl(const NS::Error* error) { return static_cast<const ErrorImpl*>(error); }
const ArrayImpl* impl(const NS::Array* array) { return static_cast<const ArrayImpl*>(array); }

}  // namespace

std::string text_of(const NS::String* string) { return string ? impl(string)->text : std::string(); }

NS::SharedPtr<NS::String> make_string(const std::string& text) {
  StringImpl* string = new StringImpl;
  string->text = text;
  return NS::TransferPtr<NS::String>(string);
}

NS::SharedPtr<NS::Error> make_error(const char* domain, NS::Integer code, const std::string& description) {
  ErrorImpl* error = new ErrorImpl;
  error->domain = make_string(domain);
  error->code = code;
  error->description = make_string(description);
  return NS::TransferPtr<NS::Error>(error);
}

void set_error(NS::Error** error, const char* domain, NS::Integer code, const std::string& description) {
  if (!error) return;
  NS::SharedPtr<NS::Error> made = make_error(domain, code, description);
  *error = made.get()->autorelease();
  made.detach();
}

NS::String* constant_string(const char* literal) {
  static std::mutex& mutex = *new std::mutex;
  static auto& strings = *new std::map<std::string, NS::SharedPtr<NS::String>>;
  std::lock_guard<std::mutex> lock(mutex);
  NS::SharedPtr<NS::String>& string = strings[literal];
  if (!string) string = make_string(literal);
  return string.get();
}

}  // namespace softmetal

namespace NS {

using softmetal::impl;

namespace {

String* autoreleased(SharedPtr<String> string) {
  String* result = string.get();
  string.detach();
  return result->autorelease();
}

}  // namespace

String* String::string() { return autoreleased(softmetal::make_string("")); }

String* String::string(const String* pString) { return autoreleased(softmetal::make_string(impl(pString)->text)); }

String* String::string(const char* pString, StringEncoding) {
  return pString ? autoreleased(softmetal::make_string(pString)) : nullptr;
}

String* String::alloc() { return new softmetal::StringImpl; }

String* String::init() { return this; }

String* String::init(const String* pString) {
  impl(this)->text = impl(pString)->text;
  return this;
}

String* String::init(const char* pString, StringEncoding) {
  impl(this)->text = pString ? pString : "";
  return this;
}

UInteger String::length() const {
  UInteger units = 0;
  for (const char c : impl(this)->text) {
    const unsigned char byte = static_cast<unsigned char>(c);
    const bool continuation = (byte & 0xc0) == 0x80;
    if (!continuation) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}

const char* String::cString(StringEncoding) const { return utf8String(); }

const char* String::utf8String() const { return impl(this)->text.c_str(); }

UInteger String::lengthOfBytes(StringEncoding) const { return impl(this)->text.size(); }

bool String::isEqualToString(const String* pString) const { return pString && impl(this)->text == impl(pString)->text; }

String* String::stringByAppendingString(const String* pString) const {
  return autoreleased(softmetal::make_string(impl(this)->text + impl(pString)->text));
}

Error* Error::error(ErrorDomain domain, Integer code, class Dictionary*) {
  const std::string name = softmetal::text_of(domain);
  Error* made = nullptr;
  softmetal::set_error(&made, name.c_str(), code, name + " error " + std::to_string(code));
  return made;
}

Integer Error::code() const { return impl(this)->code; }

ErrorDomain Error::domain() const { return impl(this)->domain.get(); }

String* Error::localizedDescription() const { return impl(this)->description.get(); }

Array* Array::array() { return alloc()->init()->autorelease(); }

Array* Array::array(const Object* pObject) { return array(&pObject, 1); }

Array* Array::array(const Object* const* pObjects, UInteger count) {
  return alloc()->init(pObjects, count)->autorelease();
}

Array* Array::alloc() { return new softmetal::ArrayImpl; }

Array* Array::init() { return this; }

Array* Array::init(const Object* const* pObjects, UInteger count) {
  auto& objects = static_cast<softmetal::ArrayImpl*>(this)->objects;
  for (UInteger i = 0; i < count; ++i) objects.push_back(RetainPtr(const_cast<Object*>(pObjects[i])));
  return this;
}

UInteger Array::count() const { return impl(this)->objects.size(); }

Object* Array::object_at(UInteger index) const {
  const auto& objects = impl(this)->objects;
  return index < objects.size() ? objects[index].get() : nullptr;
}

}  // namespace NS
