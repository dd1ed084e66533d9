// Opens a file and maps its pages; devices with memory of their own get a copy by upload.h.
#include "metal/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "metal/error.h"
#include "metal/upload.h"

namespace fastgo::metal {
namespace {

// Owns the mapping; it must outlive every use of the buffer made from it.
class Mapping {
 public:
  Mapping(void* address, std::size_t length) : address_(address), length_(length) {}
  ~Mapping() { munmap(address_, length_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

 private:
  void* address_;
  std::size_t length_;
};

[[noreturn]] void fail(const std::string& path, const char* what) {
  throw Error("can't " + std::string(what) + " " + path + ": " + std::strerror(errno));
}

// The open file and its size in bytes.
class File {
 public:
  explicit File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail(path, "open");
    struct stat status = {};
    if (fstat(descriptor_, &status) != 0 || status.st_size <= 0) {
      close(descriptor_);
      throw Error("can't map " + path + ": it is empty or not a regular file");
    }
    size_ = static_cast<std::size_t>(status.st_size);
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  int descriptor() const { return descriptor_; }
  std::size_t size() const { return size_; }

 private:
  int descriptor_;
  std::size_t size_ = 0;
};

std::shared_ptr<Buffer> map_pages(MTL::Device* device, const File& file, const std::string& path) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t length = (file.size() + page - 1) / page * page;
  // Private and writable: Metal wants writable pages for a buffer without copy, and nothing ever writes them.
  void* address = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.descriptor(), 0);
  if (address == MAP_FAILED) fail(path, "map");
#ifdef MADV_HUGEPAGE
  // What is not in the page cache yet is then read in huge pages, where the file system has them; failing is no error.
  madvise(address, length, MADV_HUGEPAGE);
#endif
  auto mapping = std::make_shared<Mapping>(address, length);
  auto handle = NS::TransferPtr(device->newBuffer(address, length, MTL::ResourceStorageModeShared, nullptr));
  if (!handle) throw Error("the device can't use the pages of " + path + " in place");
  handle->setLabel(ns_string(path));
  return std::make_shared<Buffer>(std::move(handle), file.size(), std::move(mapping));
}

}  // namespace

std::shared_ptr<Buffer> map_file(MTL::Device* device, MTL::CommandQueue* queue, const std::string& path,
                                 std::shared_ptr<Telemetry> telemetry) {
  const File file(path);
  if (device->hasUnifiedMemory()) return map_pages(device, file, path);
  return upload(device, queue, file.descriptor(), file.size(), path, std::move(telemetry));
}

}  // namespace fastgo::metal
