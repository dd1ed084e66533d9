// Lists folders from the place of this very code.
#include "softmetal/cuda/libraries.h"

#include <dlfcn.h>

namespace softmetal::cuda {
namespace {

constexpr const char* toolkit_folder = "/usr/local/cuda/lib64";

}  // namespace

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string path_in(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

std::vector<std::string> library_folders(const std::vector<std::string>& wheel_folders) {
  std::vector<std::string> folders;
  Dl_info self = {};
  if (dladdr(reinterpret_cast<const void*>(&folder_of), &self) != 0 && self.dli_fname) {
    const std::string site_packages = folder_of(folder_of(self.dli_fname));
    for (const std::string& folder : wheel_folders) folders.push_back(site_packages + "/" + folder);
  }
  folders.push_back("");
  folders.push_back(toolkit_folder);
  return folders;
}

}  // namespace softmetal::cuda
