// Commands made ready for a GPU: kernel launches with all their parameters, in a list or as a CUDA graph.
//
// In a list a stream's own order does the waiting. In a graph the dispatches between two barriers depend on those
// between the two before, and on nothing else, so that they may overlap; large products are a graph of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softmetal/cuda/context.h"
#include "softmetal/cuda/launch.h"
#include "softmetal/cuda/product_recorder.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

class CudaProgram final : public Program {
 public:
  CudaProgram(std::shared_ptr<Context> context, std::shared_ptr<LargeProducts> products,
              const std::vector<Command>& commands, bool replayed);
  ~CudaProgram() override;

  // Puts the work into the stream; "" or what went wrong.
  std::string enqueue(StreamHandle stream) const;

 private:
  // The dispatches from one barrier to the next.
  struct Stage {
    std::size_t begin, end;
  };
  // The nodes that a stage waits for, and whether kernels may be launched before those end.
  struct Previous {
    std::vector<GraphNodeHandle> nodes;
    bool only_kernels = true;
  };

  std::string make_graph(std::shared_ptr<LargeProducts> products);
  Result build_graph(bool programmatic);
  Result add_stage(GraphHandle graph, std::size_t number, bool programmatic, Previous& previous);
  Result add_kernel(GraphHandle graph, std::size_t index, bool is_early, const Previous& previous,
                    std::vector<GraphNodeHandle>& nodes);
  void find_stages();
  void find_products(std::shared_ptr<LargeProducts> products);
  Result enqueue_one(std::size_t index, StreamHandle stream) const;
  std::string describe(std::size_t index, Result result) const;

  std::shared_ptr<Context> context_;
  std::vector<Command> commands_;
  std::vector<Launch> launches_;  // by command
  std::vector<Stage> stages_;
  std::unique_ptr<ProductRecorder> products_;  // null if the program has no large products
  std::vector<bool> is_product_;               // by command: it is left to products_
  GraphExecHandle graph_ = nullptr;
  std::string problem_;
};

}  // namespace softmetal::cuda
