// One opened device: its queue, caches and counters, and the work handed to it.
//
// A Submission is one committed command buffer. Device, Program and Submission may be used from any thread.
#pragma once

#include <Metal/Metal.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "metal/buffer_pool.h"
#include "metal/pipelines.h"
#include "metal/program.h"
#include "metal/telemetry.h"

namespace fastgo::metal {

// What a device is and can do. Sizes are in bytes.
struct Capabilities {
  std::string name;
  bool has_unified_memory;
  std::uint64_t recommended_working_set;
  std::uint64_t max_buffer_length;
  std::uint64_t max_threadgroup_memory;
};

class Submission {
 public:
  Submission(NS::SharedPtr<MTL::CommandBuffer> commands, std::vector<std::shared_ptr<const void>> kept)
      : commands_(std::move(commands)), kept_(std::move(kept)) {}
  // Waits too: what the work uses may be gone afterwards, a mapped file's pages with it.
  ~Submission();
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

  // Blocks until the work is done. Throws Error with the device's reason when it failed.
  void wait();
  // How long the device worked; only after wait().
  double device_seconds() const { return commands_->GPUEndTime() - commands_->GPUStartTime(); }

 private:
  NS::SharedPtr<MTL::CommandBuffer> commands_;
  std::vector<std::shared_ptr<const void>> kept_;  // what the work uses
};

std::vector<Capabilities> list_devices();

class Device {
 public:
  // Opens the device with that index in list_devices(). Throws Error if there is none.
  explicit Device(std::size_t index);
  ~Device();

  const Capabilities& capabilities() const { return capabilities_; }
  const Telemetry& telemetry() const { return *telemetry_; }
  // Of files that are used in place, with what the device may have made of them and keeps.
  std::uint64_t mapped_bytes() const;

  std::shared_ptr<Buffer> allocate(std::size_t size, Storage storage, const std::string& label);
  std::shared_ptr<Heap> make_heap(std::size_t size, Storage storage, const std::string& label);
  // Offset granularity of buffers placed in a heap.
  std::size_t heap_alignment() const;
  std::shared_ptr<Buffer> map_file(const std::string& path);
  const Pipeline& pipeline(const std::string& kernel, const Constants& constants) {
    return pipelines_.get(kernel, constants);
  }
  std::shared_ptr<Program> make_program(ReplayMode mode, const std::string& label);

  // Runs the programs one after the other, in one command buffer.
  std::shared_ptr<Submission> submit(const std::vector<std::shared_ptr<Program>>& programs);
  // Copies bytes between buffers on the device.
  std::shared_ptr<Submission> copy(const Binding& source, const Binding& target, std::size_t size);
  // Sets bytes of a buffer on the device.
  std::shared_ptr<Submission> fill(const Binding& target, std::size_t size, std::uint8_t value);
  void trim() { pool_->trim(); }

 private:
  template <typename Encode>
  std::shared_ptr<Submission> commit(std::vector<std::shared_ptr<const void>> kept, const Encode& encode);

  std::shared_ptr<Telemetry> telemetry_ = std::make_shared<Telemetry>();
  NS::SharedPtr<MTL::Device> device_;
  NS::SharedPtr<MTL::CommandQueue> queue_;
  Capabilities capabilities_;
  std::shared_ptr<BufferPool> pool_;
  Pipelines pipelines_;
  mutable std::mutex mapped_mutex_;
  std::vector<std::weak_ptr<Buffer>> mapped_;
};

}  // namespace fastgo::metal
