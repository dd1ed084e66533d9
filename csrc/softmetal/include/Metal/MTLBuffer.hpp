// A range of device memory.
#pragma once

#include "MTLResource.hpp"

namespace MTL {

class Buffer : public NS::Referencing<Buffer, Resource> {
 public:
  void* contents();  // null for private storage
  void didModifyRange(NS::Range range);
  GPUAddress gpuAddress() const;
  NS::UInteger length() const;
};

}  // namespace MTL
