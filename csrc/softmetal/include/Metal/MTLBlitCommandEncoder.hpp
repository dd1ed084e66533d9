// Records copies and fills.
#pragma once

#include "MTLCommandEncoder.hpp"

namespace MTL {

class Buffer;
class Fence;
class IndirectCommandBuffer;
class Resource;

class BlitCommandEncoder : public NS::Referencing<BlitCommandEncoder, CommandEncoder> {
 public:
  void copyFromBuffer(const MTL::Buffer* sourceBuffer, NS::UInteger sourceOffset, const MTL::Buffer* destinationBuffer,
                      NS::UInteger destinationOffset, NS::UInteger size);
  void fillBuffer(const MTL::Buffer* buffer, NS::Range range, std::uint8_t value);
  void optimizeIndirectCommandBuffer(const MTL::IndirectCommandBuffer* indirectCommandBuffer, NS::Range range);
  void resetCommandsInBuffer(const MTL::IndirectCommandBuffer* buffer, NS::Range range);
  void synchronizeResource(const MTL::Resource* resource);
  void updateFence(const MTL::Fence* fence);
  void waitForFence(const MTL::Fence* fence);
};

}  // namespace MTL
