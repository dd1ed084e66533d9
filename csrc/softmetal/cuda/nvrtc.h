// NVRTC, CUDA's compiler as a library, opened at run time.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace softmetal::cuda {

struct NvrtcFunctions;

struct CompileRequest {
  std::string name;  // of the file, for messages
  std::string source;
  std::vector<std::string> options;
  int architecture = 0;  // 90 for compute capability 9.0
};

class Nvrtc {
 public:
  // Opens the file `path` (searched if empty) once; null, and the reason in `problem`, if there is none.
  static const Nvrtc* load(const std::string& path, std::string* problem);

  int major() const { return major_; }
  std::string version() const { return std::to_string(major_) + "." + std::to_string(minor_); }

  // The newest architecture that is no newer than the wanted one, as code for it; 0 if the device is too old.
  int best_architecture(int wanted) const;

  // Machine code, or PTX where the compiler does not know the device's architecture; empty, and the reason in
  // `problem`, on failure.
  std::string compile(const CompileRequest& request, std::string* problem) const;

 private:
  Nvrtc() = default;

  const NvrtcFunctions* functions_ = nullptr;
  int major_ = 0, minor_ = 0;
  std::vector<int> architectures_;
};

}  // namespace softmetal::cuda
