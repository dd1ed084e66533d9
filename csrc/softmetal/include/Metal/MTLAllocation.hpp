// Base of everything that occupies device memory.
#pragma once

#include "MTLTypes.hpp"

namespace MTL {

class Allocation : public NS::Referencing<Allocation> {
 public:
  NS::UInteger allocatedSize() const;
};

}  // namespace MTL
