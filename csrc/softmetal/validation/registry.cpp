// The list of live and of recently released objects.
#include "softmetal/validation/registry.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

#include "softmetal/validation/report.h"

namespace softmetal::validation {
namespace {

// Memory of this many dead objects is held back.
constexpr std::size_t quarantine_capacity = 4096;

constexpr int leak_polls = 20;
constexpr std::chrono::milliseconds leak_poll_interval{5};

struct Entry {
  const char* class_name;
  const NS::String* const* label;
};

struct Registry {
  std::mutex mutex;
  std::unordered_map<const void*, Entry> live;
  std::unordered_map<const void*, std::string> released;
  std::deque<void*> quarantine;
};

// Never destroyed: objects may die while static destructors run.
Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

std::string describe(const Entry& entry) {
  std::string text = entry.class_name;
  if (*entry.label) text += std::string(" \"") + (*entry.label)->utf8String() + "\"";
  return text;
}

// Devices are kept for the life of the process.
bool is_permanent(const Entry& entry) { return std::string(entry.class_name) == "MTL::Device"; }

bool only_permanent_objects() {
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  return std::all_of(r.live.begin(), r.live.end(), [](const auto& item) { return is_permanent(item.second); });
}

}  // namespace

void track(const ObjectBase* object, const NS::String* const* label) {
  if (!enabled()) return;
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  r.released.erase(object);
  r.live[object] = Entry{object->class_name(), label};
}

void untrack(const ObjectBase* object) {
  if (!enabled()) return;
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  const auto found = r.live.find(object);
  if (found == r.live.end()) return;
  r.released[object] = found->second.class_name;
  r.live.erase(found);
}

bool alive(const ObjectBase* object, const char* call, const char* argument) {
  if (!object) {
    report(call, std::string(argument) + " is null");
    return false;
  }
  if (!enabled()) return true;
  std::string problem;
  {
    Registry& r = registry();
    std::lock_guard<std::mutex> lock(r.mutex);
    if (r.live.count(object)) return true;
    const auto dead = r.released.find(object);
    problem = dead == r.released.end() ? " is no object of softmetal" : " is a released " + dead->second;
  }
  report(call, argument + problem);
  return false;
}

bool not_released(const ObjectBase* object, const char* call) {
  if (!enabled()) return true;
  std::string name;
  {
    Registry& r = registry();
    std::lock_guard<std::mutex> lock(r.mutex);
    const auto dead = r.released.find(object);
    if (dead == r.released.end()) return true;
    name = dead->second;
  }
  report(call, "this object is a released " + name);
  return false;
}

void free_object(void* pointer) {
  if (enabled()) {
    Registry& r = registry();
    std::lock_guard<std::mutex> lock(r.mutex);
    r.quarantine.push_back(pointer);
    if (r.quarantine.size() <= quarantine_capacity) return;
    pointer = r.quarantine.front();
    r.quarantine.pop_front();
    r.released.erase(pointer);
  }
  ::operator delete(pointer);
}

void report_leaks() {
  // A command buffer that has just completed is let go by a thread of the driver a moment later.
  for (int i = 0; i < leak_polls && !only_permanent_objects(); ++i) std::this_thread::sleep_for(leak_poll_interval);
  Registry& r = registry();
  std::lock_guard<std::mutex> lock(r.mutex);
  for (const auto& [object, entry] : r.live) {
    if (!is_permanent(entry)) note("leaked at exit: " + describe(entry));
  }
}

}  // namespace softmetal::validation
