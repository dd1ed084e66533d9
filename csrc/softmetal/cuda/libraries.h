// Where the optional libraries of CUDA may lie.
#pragma once

#include <string>
#include <vector>

namespace softmetal::cuda {

// Folders to look into, in order: those of wheels beside the extension's own package, "" for the linker's path, the
// toolkit. `wheel_folders` are below site-packages.
std::vector<std::string> library_folders(const std::vector<std::string>& wheel_folders);

// "" where the path has no folder.
std::string folder_of(const std::string& path);

// The path of a file of a folder; the bare name if the folder is "".
std::string path_in(const std::string& folder, const std::string& name);

}  // namespace softmetal::cuda
