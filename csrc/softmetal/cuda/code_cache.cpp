// Reads and writes the files of the kernel cache.
#include "softmetal/cuda/code_cache.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace softmetal::cuda {
namespace {

constexpr char magic[8] = {'f', 'g', 'c', 'u', 'b', 'i', 'n', '1'};
constexpr std::size_t digest_size = 16;

__extension__ using Wide = unsigned __int128;

// FNV-1a with 128 bits (Fowler, Noll and Vo).
Wide digest(const std::string& text) {
  const Wide prime = (Wide(1) << 88) + 0x13B;
  Wide hash = (Wide(0x6C62272E07BB0142) << 64) + 0x62B821756295C58D;
  for (const unsigned char byte : text) hash = (hash ^ byte) * prime;
  return hash;
}

std::string hexadecimal(Wide value) {
  char text[2 * digest_size + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(value >> 64),
                static_cast<unsigned long long>(value));
  return text;
}

void make_folders(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    mkdir(path.substr(0, slash).c_str(), 0777);
  }
  mkdir(path.c_str(), 0777);
}

}  // namespace

std::string CodeCache::path_of(const std::string& key) const {
  return folder_ + "/" + hexadecimal(digest(key)) + ".bin";
}

std::string CodeCache::find(const std::string& key) const {
  if (folder_.empty()) return "";
  std::ifstream file(path_of(key), std::ios::binary);
  if (!file) return "";
  std::ostringstream read;
  read << file.rdbuf();
  const std::string content = read.str();
  const std::size_t header = sizeof magic + digest_size;
  if (content.size() <= header || std::memcmp(content.data(), magic, sizeof magic) != 0) return "";
  const std::string code = content.substr(header);
  const Wide checksum = digest(code);
  return std::memcmp(content.data() + sizeof magic, &checksum, digest_size) == 0 ? code : "";
}

void CodeCache::store(const std::string& key, const std::string& code) const {
  if (folder_.empty()) return;
  make_folders(folder_);
  const std::string path = path_of(key);
  const std::string temporary = path + "." + std::to_string(getpid());
  const Wide checksum = digest(code);
  {
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(magic, sizeof magic);
    file.write(reinterpret_cast<const char*>(&checksum), digest_size);
    file.write(code.data(), static_cast<std::streamsize>(code.size()));
    file.close();
    if (!file) {
      std::remove(temporary.c_str());
      return;
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) std::remove(temporary.c_str());
}

}  // namespace softmetal::cuda
