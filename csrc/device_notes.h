// Why a kind of device that this build knows is not in the list of devices; for `fastgo env` and for fallbacks.
#pragma once

#include <string>
#include <vector>

namespace fastgo {

struct DeviceNote {
  std::string kind;  // "cuda"
  std::string text;
  bool is_there;  // the machine has such a device, but it can't be used
};

// Found together with the devices. Empty on a Mac.
std::vector<DeviceNote> device_notes();

}  // namespace fastgo
