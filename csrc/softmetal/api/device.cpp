// The device: its properties, and everything that it makes.
#include "softmetal/api/device.h"

#include <algorithm>
#include <string>
#include <vector>

#include "softmetal/api/command_queue.h"
#include "softmetal/api/descriptors.h"
#include "softmetal/api/event.h"
#include "softmetal/api/indirect_command_buffer.h"
#include "softmetal/api/pipeline.h"
#include "softmetal/api/resource.h"
#include "softmetal/foundation/values.h"
#include "softmetal/validation/report.h"

namespace softmetal {
namespace {

struct Devices {
  std::vector<const NS::Object*> all;  // the best first
  std::vector<fastgo::DeviceNote> notes;
};

Devices* open_devices() {
  const Environment environment = read_environment();
  validation::configure(environment);
  FoundDrivers found = find_drivers(environment);
  auto* devices = new Devices;
  for (std::unique_ptr<Driver>& driver : found.drivers) {
    devices->all.push_back(make_object<DeviceImpl>(std::move(driver)));
  }
  devices->notes = std::move(found.notes);
  return devices;
}

// Made at the first request and kept for the life of the process.
const Devices& devices() {
  static const Devices& found = *open_devices();
  return found;
}

// What newBuffer makes of a length that cannot be; "" if it is fine.
std::string length_problem(const DeviceImpl& device, std::uint64_t length, MTL::ResourceOptions options) {
  if (length == 0) return "length is 0";
  if (length > device.driver->info().max_buffer_length) {
    return "length " + std::to_string(length) + " is above maxBufferLength " +
           std::to_string(device.driver->info().max_buffer_length);
  }
  if (storage_mode_of(options) > MTL::StorageModePrivate) return "options ask for memoryless storage";
  return "";
}

Storage storage_of(MTL::ResourceOptions options) {
  return storage_mode_of(options) == MTL::StorageModePrivate ? Storage::device_private : Storage::shared;
}

BufferImpl* allocate_buffer(DeviceImpl* device, std::uint64_t length, MTL::ResourceOptions options) {
  constexpr const char* call = "MTL::Device::newBuffer";
  if (!validation::alive(device, call)) return nullptr;
  const std::string problem = length_problem(*device, length, options);
  if (!problem.empty()) {
    validation::report(call, problem);
    return nullptr;
  }
  Memory memory;
  if (!device->driver->allocate(length, storage_of(options), &memory)) return nullptr;
  return make_object<BufferImpl>(device, BufferImpl::Origin::allocated, memory, options);
}

// Names the function constants that the kernel uses and that have no value, or "". One that the shader asks
// is_function_constant_defined about may be left unset.
std::string missing_constants(const FunctionImpl& function) {
  const fastgo::KernelReflection& kernel = function.shaders->file->kernels[function.kernel];
  std::string names;
  for (std::uint32_t i = 0; i < kernel.required_constant_count; ++i) {
    const std::uint16_t position = kernel.required_constants[i];
    if (function.constants[position].defined) continue;
    names += std::string(names.empty() ? "" : ", ") + kernel.constants[position].name;
  }
  return names.empty()
             ? ""
             : std::string("kernel \"") + kernel.name + "\" uses function constants without a value: " + names;
}

ComputePipelineStateImpl* make_pipeline(DeviceImpl* device, const MTL::Function* function, bool whole_simdgroups,
                                        NS::Error** error) {
  if (!validation::alive(device, "MTL::Device::newComputePipelineState") ||
      !validation::alive(function, "MTL::Device::newComputePipelineState", "function")) {
    set_error(error, pipeline_error_domain, MTL::LibraryErrorFunctionNotFound, "the function is null");
    return nullptr;
  }
  const FunctionImpl& source = *impl(function);
  std::string problem = missing_constants(source);
  if (!problem.empty()) {
    set_error(error, pipeline_error_domain, MTL::LibraryErrorCompileFailure, problem);
    return nullptr;
  }
  auto pipeline =
      device->driver->make_pipeline(*source.shaders, source.kernel, source.constants, whole_simdgroups, &problem);
  if (!pipeline) {
    set_error(error, pipeline_error_domain, MTL::LibraryErrorCompileFailure, problem);
    return nullptr;
  }
  auto* state = make_object<ComputePipelineStateImpl>();
  state->device = device;
  state->shaders = source.shaders;
  state->max_total_threads = pipeline->max_total_threads;
  state->whole_simdgroups = whole_simdgroups;
  state->pipeline = std::move(pipeline);
  return state;
}

}  // namespace

DeviceImpl::DeviceImpl(std::unique_ptr<Driver> device_driver)
    : driver(std::move(device_driver)), bytes_pool(*driver), name_string(make_string(driver->info().name)) {}

}  // namespace softmetal

namespace MTL {

using softmetal::impl;
using softmetal::make_object;
namespace validation = softmetal::validation;

Device* CreateSystemDefaultDevice() {
  return static_cast<softmetal::DeviceImpl*>(const_cast<NS::Object*>(softmetal::devices().all.front()))->retain();
}

NS::Array* CopyAllDevices() {
  const auto& all = softmetal::devices().all;
  return NS::Array::alloc()->init(all.data(), all.size());
}

NS::UInteger Device::currentAllocatedSize() const { return impl(this)->allocated; }

bool Device::hasUnifiedMemory() const { return impl(this)->driver->info().has_unified_memory; }

SizeAndAlign Device::heapBufferSizeAndAlign(NS::UInteger length, MTL::ResourceOptions) {
  constexpr NS::UInteger alignment = softmetal::placement_alignment;
  const NS::UInteger rounded = length > NS::UIntegerMax - alignment ? length : (length + alignment - 1) & -alignment;
  return {rounded, alignment};
}

NS::UInteger Device::maxBufferLength() const { return impl(this)->driver->info().max_buffer_length; }

NS::UInteger Device::maxThreadgroupMemoryLength() const { return softmetal::max_threadgroup_memory; }

Size Device::maxThreadsPerThreadgroup() const {
  constexpr NS::UInteger limit = softmetal::max_threads_per_threadgroup;
  return Size(limit, limit, limit);
}

NS::String* Device::name() const { return impl(this)->name_string.get(); }

Buffer* Device::newBuffer(NS::UInteger length, MTL::ResourceOptions options) {
  return softmetal::allocate_buffer(impl(this), length, options);
}

Buffer* Device::newBuffer(const void* pointer, NS::UInteger length, MTL::ResourceOptions options) {
  constexpr const char* call = "MTL::Device::newBuffer";
  if (!pointer || softmetal::storage_mode_of(options) == StorageModePrivate) {
    validation::report(call, pointer ? "private storage cannot be filled from the host" : "pointer is null");
    return nullptr;
  }
  softmetal::BufferImpl* buffer = softmetal::allocate_buffer(impl(this), length, options);
  if (buffer) std::copy_n(static_cast<const char*>(pointer), length, static_cast<char*>(buffer->memory.host));
  return buffer;
}

Buffer* Device::newBuffer(const void* pointer, NS::UInteger length, MTL::ResourceOptions options,
                          const BufferDeallocator& deallocator) {
  constexpr const char* call = "MTL::Device::newBuffer";
  if (!validation::alive(this, call)) return nullptr;
  softmetal::DeviceImpl* device = impl(this);
  const NS::UInteger page = device->driver->info().page_size;
  std::string problem = softmetal::length_problem(*device, length, options);
  if (!pointer || reinterpret_cast<std::uintptr_t>(pointer) % page != 0) {
    problem = "pointer is null or not aligned to the page size " + std::to_string(page);
  } else if (length % page != 0) {
    problem = "length " + std::to_string(length) + " is no multiple of the page size " + std::to_string(page);
  } else if (softmetal::storage_mode_of(options) == StorageModePrivate) {
    problem = "memory of the host cannot have private storage";
  }
  softmetal::Memory memory;
  if (!problem.empty() || !device->driver->import_host(const_cast<void*>(pointer), length, &memory)) {
    if (!problem.empty()) validation::report(call, problem);
    return nullptr;
  }
  using softmetal::BufferImpl;
  BufferImpl* buffer = make_object<BufferImpl>(device, BufferImpl::Origin::imported, memory, options);
  buffer->deallocator = deallocator;
  return buffer;
}

CommandQueue* Device::newCommandQueue() {
  constexpr NS::UInteger default_command_buffers = 64;
  return newCommandQueue(default_command_buffers);
}

CommandQueue* Device::newCommandQueue(NS::UInteger maxCommandBufferCount) {
  constexpr const char* call = "MTL::Device::newCommandQueue";
  if (!validation::alive(this, call)) return nullptr;
  if (maxCommandBufferCount == 0) {
    validation::report(call, "maxCommandBufferCount is 0");
    return nullptr;
  }
  return make_object<softmetal::CommandQueueImpl>(impl(this), maxCommandBufferCount);
}

ComputePipelineState* Device::newComputePipelineState(const MTL::Function* computeFunction, NS::Error** error) {
  return softmetal::make_pipeline(impl(this), computeFunction, false, error);
}

ComputePipelineState* Device::newComputePipelineState(const MTL::ComputePipelineDescriptor* descriptor,
                                                      MTL::PipelineOption,
                                                      const MTL::AutoreleasedComputePipelineReflection* reflection,
                                                      NS::Error** error) {
  constexpr const char* call = "MTL::Device::newComputePipelineState";
  if (reflection) validation::report_unimplemented(call, "reflection objects; pass nullptr");
  if (!descriptor) {
    validation::report(call, "descriptor is null");
    return nullptr;
  }
  const softmetal::ComputePipelineDescriptorImpl& wanted = *impl(descriptor);
  auto* state = softmetal::make_pipeline(impl(this), wanted.function.get(), wanted.multiple_of_width, error);
  if (!state) return nullptr;
  state->supports_indirect = wanted.supports_indirect;
  state->set_label(wanted.get_label());
  if (wanted.max_total_threads != 0) {
    state->max_total_threads =
        static_cast<std::uint32_t>(std::min<NS::UInteger>(wanted.max_total_threads, state->max_total_threads));
  }
  return state;
}

Event* Device::newEvent() {
  return validation::alive(this, "MTL::Device::newEvent") ? softmetal::make_event(impl(this)) : nullptr;
}

Fence* Device::newFence() {
  return validation::alive(this, "MTL::Device::newFence") ? softmetal::make_fence(impl(this)) : nullptr;
}

SharedEvent* Device::newSharedEvent() {
  return validation::alive(this, "MTL::Device::newSharedEvent") ? softmetal::make_shared_event(impl(this)) : nullptr;
}

Heap* Device::newHeap(const MTL::HeapDescriptor* descriptor) {
  constexpr const char* call = "MTL::Device::newHeap";
  if (!validation::alive(this, call)) return nullptr;
  if (!descriptor || descriptor->size() == 0) {
    validation::report(call, descriptor ? "the descriptor's size is 0" : "descriptor is null");
    return nullptr;
  }
  if (descriptor->type() != HeapTypePlacement) {
    validation::report_unimplemented(call, "heap types other than HeapTypePlacement");
    return nullptr;
  }
  const ResourceOptions options = descriptor->resourceOptions();
  softmetal::Memory memory;
  softmetal::DeviceImpl* device = impl(this);
  if (!device->driver->allocate(descriptor->size(), softmetal::storage_of(options), &memory)) return nullptr;
  return make_object<softmetal::HeapImpl>(device, options, memory);
}

IndirectCommandBuffer* Device::newIndirectCommandBuffer(const MTL::IndirectCommandBufferDescriptor* descriptor,
                                                        NS::UInteger maxCount, MTL::ResourceOptions options) {
  constexpr const char* call = "MTL::Device::newIndirectCommandBuffer";
  constexpr NS::UInteger max_commands = 16384;
  if (!validation::alive(this, call)) return nullptr;
  if (!descriptor || maxCount == 0 || maxCount > max_commands) {
    validation::report(call, descriptor ? "maxCount " + std::to_string(maxCount) + " is not between 1 and " +
                                              std::to_string(max_commands)
                                        : "descriptor is null");
    return nullptr;
  }
  constexpr IndirectCommandType compute =
      IndirectCommandTypeConcurrentDispatch | IndirectCommandTypeConcurrentDispatchThreads;
  if (descriptor->commandTypes() & ~compute) {
    validation::report_unimplemented(call, "command types other than concurrent dispatches");
    return nullptr;
  }
  return make_object<softmetal::IndirectCommandBufferImpl>(impl(this), *impl(descriptor), maxCount, options);
}

Library* Device::newLibrary(const NS::String* source, const MTL::CompileOptions*, NS::Error** error) {
  if (!validation::alive(this, "MTL::Device::newLibrary")) return nullptr;
  std::string problem;
  auto shaders = impl(this)->driver->find_library(softmetal::text_of(source), &problem);
  if (!shaders) {
    softmetal::set_error(error, softmetal::library_error_domain, LibraryErrorCompileFailure, problem);
    return nullptr;
  }
  auto* library = make_object<softmetal::LibraryImpl>();
  library->device = impl(this);
  library->shaders = std::move(shaders);
  return library;
}

std::uint64_t Device::recommendedMaxWorkingSetSize() const { return impl(this)->driver->working_set(); }

std::uint64_t Device::registryID() const { return impl(this)->driver->info().registry_id; }

bool Device::supportsFamily(MTL::GPUFamily gpuFamily) {
  if (gpuFamily == GPUFamilyMetal3 || gpuFamily == GPUFamilyMac2) return true;
  const bool apple = gpuFamily >= GPUFamilyApple1 && gpuFamily <= GPUFamilyApple7;
  return apple || (gpuFamily >= GPUFamilyCommon1 && gpuFamily <= GPUFamilyCommon3);
}

}  // namespace MTL

namespace fastgo {

std::vector<DeviceNote> device_notes() { return softmetal::devices().notes; }

}  // namespace fastgo
