// The class behind MTL::ComputeCommandEncoder.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "softmetal/api/command_buffer.h"
#include "softmetal/api/dispatch.h"
#include "softmetal/validation/hazards.h"

namespace softmetal {

class IndirectCommandBufferImpl;

class ComputeEncoderImpl final : public MTL::ComputeCommandEncoder, public EncoderFields {
 public:
  ComputeEncoderImpl(CommandBufferImpl* buffer, MTL::DispatchType dispatch_type)
      : EncoderFields(buffer), type(dispatch_type) {}
  const char* class_name() const override { return "MTL::ComputeCommandEncoder"; }

  void reject(const char* call, const std::string& problem) {
    command_buffer->reject(call, problem, MTL::CommandBufferErrorInvalidResource);
  }

  // Whether the encoder records and `object` can be used; rejects the call if not.
  bool usable(const char* call, const ObjectBase* object, const char* argument);
  bool valid_index(const char* call, std::uint64_t index);

  void dispatch(const char* call, const Grid& grid);
  void execute(const char* call, IndirectCommandBufferImpl& commands, NS::Range range);
  void barrier();
  void use(const MTL::Resource* resource, MTL::ResourceUsage usage);

  const MTL::DispatchType type;
  DispatchState state;
  std::unordered_set<const MTL::Heap*> used_heaps;
  validation::HazardTracker hazards;

 private:
  // What the layer finds wrong with the commands of an indirect buffer at the time of execution, or "".
  std::string execution_problem(const IndirectCommandBufferImpl& commands, NS::Range range);
  std::string residency_problem(const DispatchState& command) const;

  bool barrier_next_ = true;  // what encoders before recorded comes first
  std::unordered_map<const MTL::Resource*, MTL::ResourceUsage> used_resources_;
};

inline ComputeEncoderImpl* impl(const MTL::ComputeCommandEncoder* encoder) {
  return static_cast<ComputeEncoderImpl*>(const_cast<MTL::ComputeCommandEncoder*>(encoder));
}

}  // namespace softmetal
