// Compiled kernels on disk, so that a model's pipelines are compiled once a machine.
//
// A file's name is a hash of everything that the code depends on; its content carries a checksum, and files appear by
// renaming, so that a torn one is never used. Problems with the disk only cost time.
#pragma once

#include <string>

namespace softmetal::cuda {

class CodeCache {
 public:
  // `folder` is made when the first kernel is stored; empty: nothing is kept.
  explicit CodeCache(std::string folder) : folder_(std::move(folder)) {}

  // Empty if there is none.
  std::string find(const std::string& key) const;
  void store(const std::string& key, const std::string& code) const;

 private:
  std::string path_of(const std::string& key) const;

  std::string folder_;
};

}  // namespace softmetal::cuda
