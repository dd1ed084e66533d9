// The classes behind MTL::IndirectCommandBuffer and MTL::IndirectComputeCommand.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "softmetal/api/descriptors.h"
#include "softmetal/api/dispatch.h"

namespace softmetal {

class IndirectCommandBufferImpl;

// As on a Mac, a command keeps neither its pipeline nor its buffers alive.
class IndirectCommandImpl final : public MTL::IndirectComputeCommand, public Labelled {
 public:
  const char* class_name() const override { return "MTL::IndirectComputeCommand"; }

  // Whether the command may be changed; also makes sure that the change is seen.
  bool recording(const char* call);
  void reject(const char* call, const std::string& problem);
  void set_dispatch(const char* call, const Grid& new_grid, MTL::IndirectCommandType command_type);
  void clear();

  IndirectCommandBufferImpl* owner = nullptr;  // null once the indirect command buffer is gone
  NS::UInteger index = 0;
  DispatchState state;
  Grid grid;
  bool has_dispatch = false;
  bool barrier = false;
};

class IndirectCommandBufferImpl final : public MTL::IndirectCommandBuffer, public ResourceFields {
 public:
  IndirectCommandBufferImpl(DeviceImpl* buffer_device, const IndirectCommandBufferDescriptorImpl& descriptor,
                            std::uint64_t max_commands, MTL::ResourceOptions buffer_options);
  ~IndirectCommandBufferImpl() override;
  const char* class_name() const override { return "MTL::IndirectCommandBuffer"; }

  NS::UInteger command_count() const { return commands_.size(); }
  IndirectCommandImpl* command(NS::UInteger index);  // made when first asked for
  const IndirectCommandImpl* existing_command(NS::UInteger index) const { return commands_[index]; }

  // A command with what it inherits from the encoder.
  DispatchState resolved(const IndirectCommandImpl& command, const DispatchState& inherited) const;

  // The commands of `range` as a program, kept until one of them changes; null and a reason if one is not complete.
  std::shared_ptr<const Program> program(NS::Range range, const DispatchState& inherited, std::string* problem);
  void changed();

  const MTL::IndirectCommandType command_types;
  const bool inherits_buffers, inherits_pipeline;
  const NS::UInteger max_buffers, max_threadgroup_memory;

 private:
  struct Planned {
    NS::UInteger location, length;
    std::shared_ptr<const Program> program;
  };

  bool collect(NS::Range range, const DispatchState& inherited, std::vector<Command>* result, std::string* problem);

  std::vector<IndirectCommandImpl*> commands_;  // null: never asked for
  std::mutex mutex_;
  std::vector<Planned> planned_;
};

inline IndirectCommandImpl* impl(const MTL::IndirectComputeCommand* command) {
  return static_cast<IndirectCommandImpl*>(const_cast<MTL::IndirectComputeCommand*>(command));
}
inline IndirectCommandBufferImpl* impl(const MTL::IndirectCommandBuffer* buffer) {
  return static_cast<IndirectCommandBufferImpl*>(const_cast<MTL::IndirectCommandBuffer*>(buffer));
}

}  // namespace softmetal
