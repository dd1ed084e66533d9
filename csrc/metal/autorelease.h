// Objects that Metal returns autoreleased live until the scope around the call ends.
#pragma once

#include <Foundation/Foundation.hpp>

namespace fastgo::metal {

class AutoreleaseScope {
 public:
  AutoreleaseScope() : pool_(NS::AutoreleasePool::alloc()->init()) {}
  ~AutoreleaseScope() { pool_->release(); }
  AutoreleaseScope(const AutoreleaseScope&) = delete;
  AutoreleaseScope& operator=(const AutoreleaseScope&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

}  // namespace fastgo::metal
