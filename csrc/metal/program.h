// A recorded list of dispatches with explicit dependencies, replayed once or more per token.
//
// Recording resolves pipelines, buffers and arguments; replay only enqueues. Dispatches between two barriers are one
// stage and may overlap. On devices with indirect command buffers a replay is one call; elsewhere, and when asked for,
// the dispatches are encoded anew into a concurrent encoder.
#pragma once

#include <Metal/Metal.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "metal/buffer_pool.h"
#include "metal/pipelines.h"

namespace fastgo::metal {

struct Binding {
  std::shared_ptr<Buffer> buffer;  // null for an argument that a function constant leaves out
  std::size_t offset = 0;          // bytes
};

struct Dispatch {
  const Pipeline* pipeline;
  std::vector<Binding> bindings;  // by [[buffer(n)]]; index 0 is the argument struct and stays empty
  std::string arguments;          // the bytes of that struct
  MTL::Size grid;                 // threadgroups
  MTL::Size threads;              // per threadgroup
  bool barrier_before = false;
};

enum class ReplayMode { indirect, encoded };

class Program {
 public:
  Program(NS::SharedPtr<MTL::Device> device, NS::SharedPtr<MTL::CommandQueue> queue, std::shared_ptr<BufferPool> pool,
          ReplayMode mode, std::string label);

  // Throws Error when the dispatch does not fit its kernel.
  void dispatch(Dispatch dispatch);
  // What follows waits for all that came before.
  void barrier() { pending_barrier_ = true; }
  // Ends recording. Throws Error when called twice.
  void finish();

  void encode(MTL::ComputeCommandEncoder* encoder) const;
  std::size_t dispatch_count() const { return dispatches_.size(); }
  std::size_t stage_count() const { return stages_; }
  const std::string& label() const { return label_; }
  bool finished() const { return finished_; }

 private:
  void write_arguments();
  void build_indirect();
  void collect_resources();

  NS::SharedPtr<MTL::Device> device_;
  NS::SharedPtr<MTL::CommandQueue> queue_;
  std::shared_ptr<BufferPool> pool_;
  ReplayMode mode_;
  std::string label_;
  std::vector<Dispatch> dispatches_;
  std::vector<std::size_t> argument_offsets_;  // into arguments_, by dispatch
  std::vector<const MTL::Resource*> resources_;
  std::shared_ptr<Buffer> arguments_;
  NS::SharedPtr<MTL::IndirectCommandBuffer> commands_;
  std::size_t stages_ = 0;
  bool pending_barrier_ = false;
  bool finished_ = false;
};

}  // namespace fastgo::metal
