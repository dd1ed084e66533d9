// A stand-in for libcuda, NVRTC and cuBLASLt, so that the CUDA driver's answers to faults are tested on machines without
// a GPU.
//
// Device memory is the host's, copies are copies, kernels do nothing. FAKE_CUDA names a fault: `no_gpu`, `old_driver`,
// `small` (a GPU of 640 MB), `full` (its memory is taken by others), `lost` (it fails once FAKE_CUDA_LAUNCHES graphs
// or kernels have been launched). FAKE_CUBLAS names one of cuBLASLt: `no_handle`, `no_way` (it proposes no algorithm),
// `no_product` (the product itself fails); each product adds a line to the file FAKE_CUBLAS_LOG.
// Built as three libraries: with -DNVRTC the compiler, with -DCUBLAS cuBLASLt, otherwise the driver.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef unsigned long long Address;

static int fault_is(const char* name) {
  const char* fault = getenv("FAKE_CUDA");
  return fault && strcmp(fault, name) == 0;
}

#ifdef NVRTC

Result nvrtcVersion(int* major, int* minor) { return *major = 12, *minor = 0, 0; }
Result nvrtcGetNumSupportedArchs(int* count) { return *count = 1, 0; }
Result nvrtcGetSupportedArchs(int* architectures) { return *architectures = 90, 0; }
Result nvrtcCreateProgram(void** program, const char* source, const char* name, int headers, const char* const* texts,
                          const char* const* names) {
  return *program = program, 0;
}
Result nvrtcDestroyProgram(void** program) { return 0; }
Result nvrtcCompileProgram(void* program, int count, const char* const* options) { return 0; }
Result nvrtcGetProgramLogSize(void* program, size_t* size) { return *size = 1, 0; }
Result nvrtcGetProgramLog(void* program, char* log) { return *log = 0, 0; }
Result nvrtcGetCUBINSize(void* program, size_t* size) { return *size = 4, 0; }
Result nvrtcGetCUBIN(void* program, char* code) { return memcpy(code, "code", 4), 0; }
Result nvrtcGetPTXSize(void* program, size_t* size) { return *size = 4, 0; }
Result nvrtcGetPTX(void* program, char* code) { return memcpy(code, "code", 4), 0; }
const char* nvrtcGetErrorString(Result result) { return "an error of NVRTC"; }

#elif defined(CUBLAS)

static int product_fault_is(const char* name) {
  const char* fault = getenv("FAKE_CUBLAS");
  return fault && strcmp(fault, name) == 0;
}

Result cublasLtCreate(void** handle) { return *handle = handle, product_fault_is("no_handle"); }
Result cublasLtDestroy(void* handle) { return 0; }
Result cublasLtMatmulDescCreate(void** product, int compute, int type) { return *product = product, 0; }
Result cublasLtMatmulDescSetAttribute(void* product, int which, const void* value, size_t size) { return 0; }
Result cublasLtMatmulDescDestroy(void* product) { return 0; }
Result cublasLtMatrixLayoutCreate(void** matrix, int type, unsigned long long rows, unsigned long long columns,
                                  long long stride) {
  return *matrix = matrix, 0;
}
Result cublasLtMatrixLayoutSetAttribute(void* matrix, int which, const void* value, size_t size) { return 0; }
Result cublasLtMatrixLayoutDestroy(void* matrix) { return 0; }
Result cublasLtMatmulPreferenceCreate(void** preference) { return *preference = preference, 0; }
Result cublasLtMatmulPreferenceSetAttribute(void* preference, int which, const void* value, size_t size) { return 0; }
Result cublasLtMatmulPreferenceDestroy(void* preference) { return 0; }
Result cublasLtMatmulAlgoGetHeuristic(void* handle, void* product, void* a, void* b, void* c, void* d, void* preference,
                                      int most, void* proposals, int* count) {
  memset(proposals, 0, 96);
  return *count = !product_fault_is("no_way"), 0;
}
Result cublasLtMatmul(void* handle, void* product, const void* alpha, const void* a, void* a_layout, const void* b,
                      void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                      const void* algorithm, void* workspace, size_t workspace_size, void* stream) {
  const char* path = getenv("FAKE_CUBLAS_LOG");
  FILE* log = path ? fopen(path, "a") : NULL;
  if (log) fprintf(log, "%d\n", !product_fault_is("no_product")), fclose(log);
  return product_fault_is("no_product");
}

#else

enum { OUT_OF_MEMORY = 2, NO_DEVICE = 100, LAUNCH_FAILED = 719 };

static int launches = 0;

static int is_lost(void) {
  const char* most = getenv("FAKE_CUDA_LAUNCHES");
  return fault_is("lost") && launches > (most ? atoi(most) : 0);
}

static Result launch(void) { return launches++, is_lost() ? LAUNCH_FAILED : 0; }
static Result answer(void) { return is_lost() ? LAUNCH_FAILED : 0; }

static void* aligned(size_t size) {
  void* memory = NULL;
  if (posix_memalign(&memory, 4096, size ? size : 1) != 0) return NULL;
  return memset(memory, 0, size);
}

Result cuInit(unsigned flags) { return fault_is("no_gpu") ? NO_DEVICE : 0; }
Result cuDriverGetVersion(int* version) { return *version = fault_is("old_driver") ? 11080 : 13000, 0; }
Result cuGetErrorName(Result result, const char** name) {
  *name = result == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
          : result == NO_DEVICE   ? "CUDA_ERROR_NO_DEVICE"
                                  : "CUDA_ERROR_LAUNCH_FAILED";
  return 0;
}
Result cuGetErrorString(Result result, const char** text) {
  *text = result == OUT_OF_MEMORY ? "out of memory"
          : result == NO_DEVICE   ? "no CUDA-capable device is detected"
                                  : "unspecified launch failure";
  return 0;
}
Result cuDeviceGetCount(int* count) { return *count = 1, 0; }
Result cuDeviceGet(int* device, int number) { return *device = number, 0; }
Result cuDeviceGetName(char* name, int length, int device) { return strncpy(name, "Fake GPU", (size_t)length), 0; }
Result cuDeviceGetAttribute(int* value, int which, int device) {
  *value = which == 75 ? 9 : which == 76 ? 0 : which == 16 ? 132 : 1;
  return 0;
}
Result cuDeviceTotalMem_v2(size_t* size, int device) {
  return *size = fault_is("small") ? (size_t)640 << 20 : (size_t)8 << 30, 0;
}
Result cuMemGetInfo_v2(size_t* free_size, size_t* size) {
  cuDeviceTotalMem_v2(size, 0);
  *free_size = fault_is("full") ? (size_t)600 << 20 : *size;
  return 0;
}
Result cuDevicePrimaryCtxRetain(void** context, int device) { return *context = context, 0; }
Result cuCtxSetCurrent(void* context) { return 0; }
Result cuMemAlloc_v2(Address* address, size_t size) {
  *address = (Address)aligned(size);
  return *address ? answer() : OUT_OF_MEMORY;
}
Result cuMemFree_v2(Address address) { return free((void*)address), 0; }
Result cuMemHostAlloc(void** memory, size_t size, unsigned flags) {
  *memory = aligned(size);
  return *memory ? answer() : OUT_OF_MEMORY;
}
Result cuMemFreeHost(void* memory) { return free(memory), 0; }
Result cuMemHostRegister_v2(void* memory, size_t size, unsigned flags) { return answer(); }
Result cuMemHostUnregister(void* memory) { return 0; }
Result cuMemHostGetDevicePointer_v2(Address* address, void* memory, unsigned flags) {
  return *address = (Address)memory, 0;
}
Result cuMemcpyAsync(Address to, Address from, size_t size, void* stream) {
  memmove((void*)to, (void*)from, size);
  return answer();
}
Result cuMemsetD8Async(Address to, unsigned char value, size_t size, void* stream) {
  memset((void*)to, value, size);
  return answer();
}
Result cuStreamCreate(void** stream, unsigned flags) { return *stream = stream, 0; }
Result cuStreamDestroy_v2(void* stream) { return 0; }
Result cuStreamSynchronize(void* stream) { return answer(); }
Result cuEventCreate(void** event, unsigned flags) { return *event = event, 0; }
Result cuEventDestroy_v2(void* event) { return 0; }
Result cuEventRecord(void* event, void* stream) { return answer(); }
Result cuEventSynchronize(void* event) { return answer(); }
Result cuEventElapsedTime(float* milliseconds, void* begin, void* end) { return *milliseconds = 0.0f, 0; }
Result cuModuleLoadData(void** module, const void* code) { return *module = module, 0; }
Result cuModuleUnload(void* module) { return 0; }
Result cuModuleGetFunction(void** function, void* module, const char* name) { return *function = function, 0; }
Result cuFuncGetAttribute(int* value, int which, void* function) { return *value = which == 0 ? 1024 : 0, 0; }
Result cuFuncSetAttribute(void* function, int which, int value) { return 0; }
Result cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void* stream, void** parameters, void** extra) {
  return launch();
}
Result cuGraphCreate(void** graph, unsigned flags) { return *graph = graph, 0; }
Result cuGraphDestroy(void* graph) { return 0; }
Result cuGraphAddKernelNode_v2(void** node, void* graph, void* const* before, size_t count, const void* kernel) {
  return *node = node, 0;
}
Result cuGraphInstantiateWithFlags(void** run, void* graph, unsigned long long flags) { return *run = run, 0; }
Result cuStreamWaitEvent(void* stream, void* event, unsigned flags) { return answer(); }
Result cuStreamBeginCapture_v2(void* stream, int mode) { return answer(); }
Result cuStreamEndCapture(void* stream, void** graph) { return *graph = graph, answer(); }
Result cuGraphAddChildGraphNode(void** node, void* graph, void* const* before, size_t count, void* child) {
  return *node = node, 0;
}
Result cuGraphExecDestroy(void* run) { return 0; }
Result cuGraphLaunch(void* run, void* stream) { return launch(); }

#endif
