// Records the large products of one program as CUDA graphs, one for each stage that has some.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "softmetal/cuda/large_products.h"
#include "softmetal/cuda/product_stage.h"

namespace softmetal::cuda {

class ProductRecorder {
 public:
  explicit ProductRecorder(std::shared_ptr<LargeProducts> products) : products_(std::move(products)) {}
  ~ProductRecorder();

  // Whether the dispatch, of stage number `stage`, is recorded here. The context is the thread's, here and below.
  bool add(std::size_t stage, const Command& command);
  bool is_empty() const { return stages_.empty(); }

  // Plans all stages and allocates what they need; false if there is no memory.
  bool prepare();

  // The stage's graph, the caller's own; null on failure or if the stage has no products.
  GraphHandle capture(std::size_t stage);

  // Once every stage is captured: makes the graphs' kernels ready to run.
  Result finish();

  // What the graphs use and must outlive them with this object; null before prepare().
  ScratchBlock* scratch() const { return scratch_.get(); }

 private:
  Result enqueue(const ProductStage& stage, StreamHandle stream);
  Result enqueue_helper(const CudaPipeline* pipeline, const void* args, std::size_t size,
                        const std::vector<DevicePointer>& buffers, Extent groups, std::uint32_t threads,
                        StreamHandle stream);

  std::shared_ptr<LargeProducts> products_;
  std::map<std::size_t, std::vector<LargeProduct>> stages_;
  std::map<std::size_t, ProductStage> plans_;
  std::shared_ptr<ScratchBlock> scratch_;
  DevicePointer arguments_ = 0;                // of the helpers
  std::vector<unsigned char> argument_bytes_;  // what is to be written there
};

}  // namespace softmetal::cuda
