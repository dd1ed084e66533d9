// Calls an API that macOS 14 does not have: the check must refuse it unless the file's name says so.
#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>

MTL::ResidencySet* make_residency_set(MTL::Device* device) {
  NS::Error* error = nullptr;
  auto descriptor = NS::TransferPtr(MTL::ResidencySetDescriptor::alloc()->init());
  return device->newResidencySet(descriptor.get(), &error);
}
