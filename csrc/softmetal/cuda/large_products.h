// Products of many rows through cuBLASLt, in the place of the shaders' own kernels; for programs that are replayed.
//
// Inputs are rounded to bfloat16 once, weights of other formats dequantised to bfloat16 in scratch memory, and a gated
// unit's two products joined, all by shaders: cast, dequantize, glu. Everything between two barriers of a program
// becomes one captured graph.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "softmetal/cuda/code_cache.h"
#include "softmetal/cuda/cublas_lt.h"
#include "softmetal/cuda/large_product.h"
#include "softmetal/cuda/nvrtc.h"
#include "softmetal/cuda/pipeline.h"
#include "softmetal/cuda/scratch.h"

namespace softmetal::cuda {

// What a device needs for such products. The context is the calling thread's.
class LargeProducts {
 public:
  // `library` is cuBLASLt's file: searched if empty, "0" for none. It is opened when the first product asks for it.
  LargeProducts(std::shared_ptr<Context> context, const Nvrtc& nvrtc, CodeCache cache, std::string library)
      : context_(std::move(context)),
        nvrtc_(nvrtc),
        cache_(std::move(cache)),
        library_(std::move(library)),
        scratch_(context_) {}

  // Whether the product is one that gains by cuBLASLt, which is there and can compute it.
  bool takes(const LargeProduct& product);

  const std::shared_ptr<Context>& context() const { return context_; }
  const CublasLt* cublas();
  // A kernel of a shader file; null if it can't be built.
  const CudaPipeline* pipeline(const std::string& file, const std::string& kernel);
  Scratch& scratch() { return scratch_; }
  // Bytes of device memory that are not for models: scratch, where a library was named.
  std::uint64_t reserved_memory() const { return library_.empty() || library_ == "0" ? 0 : scratch_.limit(); }

 private:
  std::shared_ptr<Context> context_;
  const Nvrtc& nvrtc_;
  CodeCache cache_;
  std::string library_;
  Scratch scratch_;
  std::mutex mutex_;
  bool was_opened_ = false;
  std::unique_ptr<const CublasLt> cublas_;
  std::map<std::string, std::unique_ptr<CudaPipeline>> pipelines_;
};

}  // namespace softmetal::cuda
