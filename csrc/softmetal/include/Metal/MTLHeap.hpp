// Memory in which buffers are placed at offsets of the caller's choice (HeapTypePlacement only).
#pragma once

#include "MTLResource.hpp"

namespace MTL {

class Buffer;

enum HeapType : NS::Integer {
  HeapTypeAutomatic = 0,
  HeapTypePlacement = 1,
  HeapTypeSparse = 2,
};

class HeapDescriptor : public NS::Copying<HeapDescriptor> {
 public:
  static HeapDescriptor* alloc();
  HeapDescriptor* init();

  CPUCacheMode cpuCacheMode() const;
  HazardTrackingMode hazardTrackingMode() const;
  ResourceOptions resourceOptions() const;
  void setCpuCacheMode(MTL::CPUCacheMode cpuCacheMode);
  void setHazardTrackingMode(MTL::HazardTrackingMode hazardTrackingMode);
  void setResourceOptions(MTL::ResourceOptions resourceOptions);
  void setSize(NS::UInteger size);
  void setStorageMode(MTL::StorageMode storageMode);
  void setType(MTL::HeapType type);
  NS::UInteger size() const;
  StorageMode storageMode() const;
  HeapType type() const;
};

class Heap : public NS::Referencing<Heap, Allocation> {
 public:
  CPUCacheMode cpuCacheMode() const;
  NS::UInteger currentAllocatedSize() const;
  Device* device() const;
  HazardTrackingMode hazardTrackingMode() const;
  NS::String* label() const;
  Buffer* newBuffer(NS::UInteger length, MTL::ResourceOptions options, NS::UInteger offset);
  ResourceOptions resourceOptions() const;
  void setLabel(const NS::String* label);
  NS::UInteger size() const;
  StorageMode storageMode() const;
  HeapType type() const;
  NS::UInteger usedSize() const;
};

}  // namespace MTL
