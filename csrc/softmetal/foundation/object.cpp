// Reference counts and autorelease pools.
#include <algorithm>
#include <functional>
#include <new>
#include <vector>

#include "Foundation/Foundation.hpp"
#include "softmetal/validation/registry.h"

namespace softmetal {
namespace {

// Objects whose release is due when the owner of the list says so.
class PendingReleases {
 public:
  ~PendingReleases() { release_all(); }

  void add(const ObjectBase* object) { objects_.push_back(object); }

  // A destructor may autorelease further objects into this very list.
  void release_all() {
    while (!objects_.empty()) {
      const ObjectBase* object = objects_.back();
      objects_.pop_back();
      release(object);
    }
  }

 private:
  std::vector<const ObjectBase*> objects_;
};

class PoolImpl;

struct ThreadPools {
  std::vector<PoolImpl*> stack;
  PendingReleases without_pool;
};

thread_local ThreadPools thread_pools;

class PoolImpl final : public NS::AutoreleasePool {
 public:
  ~PoolImpl() override {
    std::vector<PoolImpl*>& stack = thread_pools.stack;
    const auto self = std::find(stack.begin(), stack.end(), this);
    if (self != stack.end()) {
      // Pools opened after this one and not yet drained go with it.
      while (stack.back() != this) stack.back()->release();
      pending.release_all();
      stack.pop_back();
    }
  }

  const char* class_name() const override { return "NS::AutoreleasePool"; }

  PendingReleases pending;
};

}  // namespace

ObjectBase::~ObjectBase() { validation::untrack(this); }

void* ObjectBase::operator new(std::size_t size) { return ::operator new(size); }

void ObjectBase::operator delete(void* pointer, std::size_t) { validation::free_object(pointer); }

void retain(const ObjectBase* object) {
  if (!validation::not_released(object, "retain")) return;
  object->references_.fetch_add(1, std::memory_order_relaxed);
}

void release(const ObjectBase* object) {
  if (!validation::not_released(object, "release")) return;
  if (object->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object;
}

void autorelease(const ObjectBase* object) {
  ThreadPools& pools = thread_pools;
  (pools.stack.empty() ? pools.without_pool : pools.stack.back()->pending).add(object);
}

NS::UInteger retain_count(const ObjectBase* object) { return object->references_.load(std::memory_order_relaxed); }

}  // namespace softmetal

namespace NS {

using softmetal::PoolImpl;

UInteger Object::hash() const { return std::hash<const Object*>()(this); }

bool Object::isEqual(const Object* pObject) const { return this == pObject; }

String* Object::description() const { return String::string(class_name(), UTF8StringEncoding); }

AutoreleasePool* AutoreleasePool::alloc() { return new PoolImpl; }

AutoreleasePool* AutoreleasePool::init() {
  softmetal::thread_pools.stack.push_back(static_cast<PoolImpl*>(this));
  return this;
}

void AutoreleasePool::drain() { release(); }

void AutoreleasePool::addObject(Object* pObject) { static_cast<PoolImpl*>(this)->pending.add(pObject); }

}  // namespace NS
