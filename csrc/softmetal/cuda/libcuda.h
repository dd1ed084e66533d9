// The part of the CUDA driver API that softmetal uses, from libcuda opened at run time.
//
// Declared here after the public documentation of the driver API, so that building needs no CUDA toolkit. Names keep
// CUDA's own spelling after `cu`. Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace softmetal::cuda {

using Result = int;  // CUresult; 0 is success
using DeviceNumber = int;
using DevicePointer = unsigned long long;

struct ContextObject;
struct ModuleObject;
struct FunctionObject;
struct StreamObject;
struct EventObject;
struct GraphObject;
struct GraphNodeObject;
struct GraphExecObject;
using ContextHandle = ContextObject*;
using ModuleHandle = ModuleObject*;
using FunctionHandle = FunctionObject*;
using StreamHandle = StreamObject*;
using EventHandle = EventObject*;
using GraphHandle = GraphObject*;
using GraphNodeHandle = GraphNodeObject*;
using GraphExecHandle = GraphExecObject*;

inline constexpr Result success = 0;
inline constexpr Result error_no_device = 100;
inline constexpr Result error_unknown = 999;
inline constexpr int attribute_capability_major = 75;
inline constexpr int attribute_capability_minor = 76;
inline constexpr int function_max_threads = 0;
inline constexpr int attribute_shared_memory_per_core = 81;
inline constexpr int function_shared_size = 1;
inline constexpr int function_preferred_shared_part = 9;  // percent
inline constexpr unsigned host_portable = 1;
inline constexpr unsigned host_device_map = 2;
inline constexpr unsigned stream_non_blocking = 1;
inline constexpr unsigned event_without_timing = 2;
inline constexpr int capture_relaxed = 2;

// CUDA_KERNEL_NODE_PARAMS_v2.
struct KernelNode {
  FunctionHandle function;
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_size;
  void** parameters;
  void** extra;
  void* kernel;
  ContextHandle context;
};

// CUgraphEdgeData. A programmatic edge lets the second kernel be launched while the first still runs.
struct GraphEdge {
  unsigned char from_port, to_port, type, reserved[5];
};
inline constexpr GraphEdge programmatic_edge = {1, 0, 1, {}};

// Every function that is loaded: result, name in this struct, exported symbol, parameters.
#define SOFTMETAL_CUDA_FUNCTIONS(F)                                                                              \
  F(Init, "cuInit", (unsigned))                                                                                  \
  F(DriverGetVersion, "cuDriverGetVersion", (int*))                                                              \
  F(GetErrorName, "cuGetErrorName", (Result, const char**))                                                      \
  F(GetErrorString, "cuGetErrorString", (Result, const char**))                                                  \
  F(DeviceGetCount, "cuDeviceGetCount", (int*))                                                                  \
  F(DeviceGet, "cuDeviceGet", (DeviceNumber*, int))                                                              \
  F(DeviceGetName, "cuDeviceGetName", (char*, int, DeviceNumber))                                                \
  F(DeviceGetAttribute, "cuDeviceGetAttribute", (int*, int, DeviceNumber))                                       \
  F(DeviceTotalMem, "cuDeviceTotalMem_v2", (std::size_t*, DeviceNumber))                                         \
  F(PrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (ContextHandle*, DeviceNumber))                                \
  F(CtxSetCurrent, "cuCtxSetCurrent", (ContextHandle))                                                           \
  F(MemAlloc, "cuMemAlloc_v2", (DevicePointer*, std::size_t))                                                    \
  F(MemFree, "cuMemFree_v2", (DevicePointer))                                                                    \
  F(MemGetInfo, "cuMemGetInfo_v2", (std::size_t*, std::size_t*))                                                 \
  F(MemHostAlloc, "cuMemHostAlloc", (void**, std::size_t, unsigned))                                             \
  F(MemFreeHost, "cuMemFreeHost", (void*))                                                                       \
  F(MemHostRegister, "cuMemHostRegister_v2", (void*, std::size_t, unsigned))                                     \
  F(MemHostUnregister, "cuMemHostUnregister", (void*))                                                           \
  F(MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2", (DevicePointer*, void*, unsigned))                  \
  F(MemcpyAsync, "cuMemcpyAsync", (DevicePointer, DevicePointer, std::size_t, StreamHandle))                     \
  F(MemsetD8Async, "cuMemsetD8Async", (DevicePointer, unsigned char, std::size_t, StreamHandle))                 \
  F(StreamCreate, "cuStreamCreate", (StreamHandle*, unsigned))                                                   \
  F(StreamDestroy, "cuStreamDestroy_v2", (StreamHandle))                                                         \
  F(StreamWaitEvent, "cuStreamWaitEvent", (StreamHandle, EventHandle, unsigned))                                 \
  F(StreamBeginCapture, "cuStreamBeginCapture_v2", (StreamHandle, int))                                          \
  F(StreamEndCapture, "cuStreamEndCapture", (StreamHandle, GraphHandle*))                                        \
  F(StreamSynchronize, "cuStreamSynchronize", (StreamHandle))                                                    \
  F(EventCreate, "cuEventCreate", (EventHandle*, unsigned))                                                      \
  F(EventDestroy, "cuEventDestroy_v2", (EventHandle))                                                            \
  F(EventRecord, "cuEventRecord", (EventHandle, StreamHandle))                                                   \
  F(EventSynchronize, "cuEventSynchronize", (EventHandle))                                                       \
  F(EventElapsedTime, "cuEventElapsedTime", (float*, EventHandle, EventHandle))                                  \
  F(ModuleLoadData, "cuModuleLoadData", (ModuleHandle*, const void*))                                            \
  F(ModuleUnload, "cuModuleUnload", (ModuleHandle))                                                              \
  F(ModuleGetFunction, "cuModuleGetFunction", (FunctionHandle*, ModuleHandle, const char*))                      \
  F(FuncGetAttribute, "cuFuncGetAttribute", (int*, int, FunctionHandle))                                         \
  F(FuncSetAttribute, "cuFuncSetAttribute", (FunctionHandle, int, int))                                          \
  F(LaunchKernel, "cuLaunchKernel",                                                                              \
    (FunctionHandle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamHandle, void**, \
     void**))                                                                                                    \
  F(GraphCreate, "cuGraphCreate", (GraphHandle*, unsigned))                                                      \
  F(GraphDestroy, "cuGraphDestroy", (GraphHandle))                                                               \
  F(GraphAddKernelNode, "cuGraphAddKernelNode_v2",                                                               \
    (GraphNodeHandle*, GraphHandle, const GraphNodeHandle*, std::size_t, const KernelNode*))                     \
  F(GraphAddChildGraphNode, "cuGraphAddChildGraphNode",                                                          \
    (GraphNodeHandle*, GraphHandle, const GraphNodeHandle*, std::size_t, GraphHandle))                           \
  F(GraphInstantiate, "cuGraphInstantiateWithFlags", (GraphExecHandle*, GraphHandle, unsigned long long))        \
  F(GraphExecDestroy, "cuGraphExecDestroy", (GraphExecHandle))                                                   \
  F(GraphLaunch, "cuGraphLaunch", (GraphExecHandle, StreamHandle))

struct Cuda {
#define SOFTMETAL_CUDA_MEMBER(name, symbol, parameters) Result(*name) parameters = nullptr;
  SOFTMETAL_CUDA_FUNCTIONS(SOFTMETAL_CUDA_MEMBER)
#undef SOFTMETAL_CUDA_MEMBER
  // With the edges' kinds; null where the driver is older than CUDA 12.3.
  Result (*GraphAddDependencies)(GraphHandle, const GraphNodeHandle*, const GraphNodeHandle*, const GraphEdge*,
                                 std::size_t) = nullptr;

  // "an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)"
  std::string describe(Result result) const;
};

// The driver's functions, loaded and initialised once; null, and the reason in `problem`, if there is no usable one.
const Cuda* load_cuda(std::string* problem);

}  // namespace softmetal::cuda
