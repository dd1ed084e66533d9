// Storage options and the base of buffers and indirect command buffers.
#pragma once

#include "MTLAllocation.hpp"

namespace MTL {

class Device;
class Heap;

enum CPUCacheMode : NS::UInteger {
  CPUCacheModeDefaultCache = 0,
  CPUCacheModeWriteCombined = 1,
};

enum StorageMode : NS::UInteger {
  StorageModeShared = 0,
  StorageModeManaged = 1,
  StorageModePrivate = 2,
  StorageModeMemoryless = 3,
};

enum HazardTrackingMode : NS::UInteger {
  HazardTrackingModeDefault = 0,
  HazardTrackingModeUntracked = 1,
  HazardTrackingModeTracked = 2,
};

using ResourceOptions = NS::UInteger;
enum : ResourceOptions {
  ResourceCPUCacheModeDefaultCache = 0,
  ResourceCPUCacheModeWriteCombined = 1,
  ResourceStorageModeShared = 0,
  ResourceStorageModeManaged = 1 << 4,
  ResourceStorageModePrivate = 1 << 5,
  ResourceHazardTrackingModeDefault = 0,
  ResourceHazardTrackingModeUntracked = 1 << 8,
  ResourceHazardTrackingModeTracked = 1 << 9,
};

class Resource : public NS::Referencing<Resource, Allocation> {
 public:
  NS::UInteger allocatedSize() const;
  CPUCacheMode cpuCacheMode() const;
  Device* device() const;
  HazardTrackingMode hazardTrackingMode() const;
  Heap* heap() const;
  NS::UInteger heapOffset() const;
  NS::String* label() const;
  ResourceOptions resourceOptions() const;
  void setLabel(const NS::String* label);
  StorageMode storageMode() const;
};

}  // namespace MTL
