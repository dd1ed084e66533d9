// Commands made ready for a GPU: kernel launches with all their parameters, in a list or as a CUDA graph.
//
// In a list a stream's own order does the waiting. In a graph the dispatches between two barriers depend on those
// between the two before, and on nothing else, so that they may overlap.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "softmetal/cuda/context.h"
#include "softmetal/cuda/launch_sizes.h"
#include "softmetal/driver.h"

namespace softmetal::cuda {

// A dispatch with the values of its parameters, to which `pointers` point; it must not move.
struct Launch {
  KernelNode node{};
  LaunchSizes sizes{};
  std::array<std::uint64_t, binding_count> buffers{};
  std::array<std::uint32_t, binding_count> offsets{};  // of threadgroup memory, bytes
  std::array<void*, 2 * binding_count + 1> pointers{};
};

class CudaProgram final : public Program {
 public:
  CudaProgram(std::shared_ptr<Context> context, const std::vector<Command>& commands, bool replayed);
  ~CudaProgram() override;

  // Puts the work into the stream; "" or what went wrong.
  std::string enqueue(StreamHandle stream) const;

 private:
  Result build_graph(bool programmatic);
  Result add_stage(GraphHandle graph, std::size_t begin, std::size_t end, bool programmatic,
                   std::vector<GraphNodeHandle>& previous);
  Result enqueue_one(std::size_t index, StreamHandle stream) const;
  std::string describe(std::size_t index, Result result) const;

  std::shared_ptr<Context> context_;
  std::vector<Command> commands_;
  std::vector<Launch> launches_;  // by command
  GraphExecHandle graph_ = nullptr;
  std::string problem_;
};

}  // namespace softmetal::cuda
