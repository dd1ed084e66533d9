// The class behind MTL::BlitCommandEncoder.
#pragma once

#include "softmetal/api/command_buffer.h"

namespace softmetal {

class BlitEncoderImpl final : public MTL::BlitCommandEncoder, public EncoderFields {
 public:
  explicit BlitEncoderImpl(CommandBufferImpl* buffer) : EncoderFields(buffer) {}
  const char* class_name() const override { return "MTL::BlitCommandEncoder"; }
};

inline BlitEncoderImpl* impl(const MTL::BlitCommandEncoder* encoder) {
  return static_cast<BlitEncoderImpl*>(const_cast<MTL::BlitCommandEncoder*>(encoder));
}

}  // namespace softmetal
