// Finds cuBLASLt, and keeps the algorithm that it proposes for each shape.
#include "softmetal/cuda/cublas_lt.h"

#include <dlfcn.h>

#include <cstdio>

#include "softmetal/cuda/libraries.h"

namespace softmetal::cuda {

// cublasLtMatmulHeuristicResult_t.
struct Proposal {
  std::uint64_t algorithm[8];
  std::size_t workspace_size;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Proposal) == 96);

// 0 is success. `*Attribute` functions take the attribute's number, its bytes and their count.
struct CublasLtFunctions {
  int (*Create)(void**);
  int (*Destroy)(void*);
  int (*MatmulDescCreate)(void**, int, int);
  int (*MatmulDescSetAttribute)(void*, int, const void*, std::size_t);
  int (*MatmulDescDestroy)(void*);
  int (*MatrixLayoutCreate)(void**, int, std::uint64_t, std::uint64_t, std::int64_t);
  int (*MatrixLayoutSetAttribute)(void*, int, const void*, std::size_t);
  int (*MatrixLayoutDestroy)(void*);
  int (*MatmulPreferenceCreate)(void**);
  int (*MatmulPreferenceSetAttribute)(void*, int, const void*, std::size_t);
  int (*MatmulPreferenceDestroy)(void*);
  int (*MatmulAlgoGetHeuristic)(void*, void*, void*, void*, void*, void*, void*, int, Proposal*, int*);
  int (*Matmul)(void*, void*, const void*, const void*, void*, const void*, void*, const void*, const void*, void*,
                void*, void*, const void*, void*, std::size_t, StreamHandle);
};

namespace {

constexpr const char* library_names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
constexpr int compute_float = 68;  // CUBLAS_COMPUTE_32F
constexpr int type_float = 0;      // CUDA_R_32F
constexpr int type_bfloat = 14;    // CUDA_R_16BF
constexpr int operation_transpose = 1;
constexpr int attribute_transpose_a = 3;   // of a product
constexpr int attribute_batch_count = 5;   // of a matrix
constexpr int attribute_batch_offset = 6;  // of a matrix
constexpr int attribute_workspace = 1;     // of preferences
constexpr int attribute_alignments[] = {5, 6, 7, 8};

template <typename F>
bool find(void* library, const char* symbol, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, symbol));
  return *function != nullptr;
}

bool find_functions(void* library, CublasLtFunctions* f) {
  return find(library, "cublasLtCreate", &f->Create) && find(library, "cublasLtDestroy", &f->Destroy) &&
         find(library, "cublasLtMatmulDescCreate", &f->MatmulDescCreate) &&
         find(library, "cublasLtMatmulDescDestroy", &f->MatmulDescDestroy) &&
         find(library, "cublasLtMatmulDescSetAttribute", &f->MatmulDescSetAttribute) &&
         find(library, "cublasLtMatrixLayoutCreate", &f->MatrixLayoutCreate) &&
         find(library, "cublasLtMatrixLayoutDestroy", &f->MatrixLayoutDestroy) &&
         find(library, "cublasLtMatrixLayoutSetAttribute", &f->MatrixLayoutSetAttribute) &&
         find(library, "cublasLtMatmulPreferenceCreate", &f->MatmulPreferenceCreate) &&
         find(library, "cublasLtMatmulPreferenceDestroy", &f->MatmulPreferenceDestroy) &&
         find(library, "cublasLtMatmulPreferenceSetAttribute", &f->MatmulPreferenceSetAttribute) &&
         find(library, "cublasLtMatmulAlgoGetHeuristic", &f->MatmulAlgoGetHeuristic) &&
         find(library, "cublasLtMatmul", &f->Matmul);
}

void* search_library() {
  for (const std::string& folder : library_folders({"nvidia/cu13/lib", "nvidia/cublas/lib"})) {
    for (const char* name : library_names) {
      if (void* library = dlopen(path_in(folder, name).c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
    }
  }
  return nullptr;
}

// Null if there is no library, or it lacks a function.
const CublasLtFunctions* load_functions(const std::string& path) {
  static std::mutex& mutex = *new std::mutex;
  static std::map<std::string, const CublasLtFunctions*>& loaded = *new std::map<std::string, const CublasLtFunctions*>;
  std::lock_guard<std::mutex> lock(mutex);
  const auto [place, is_new] = loaded.try_emplace(path, nullptr);
  if (!is_new) return place->second;
  void* library = path.empty() ? search_library() : dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  auto functions = std::make_unique<CublasLtFunctions>();
  if (library && find_functions(library, functions.get())) place->second = functions.release();
  if (!path.empty() && !place->second) {
    std::fprintf(stderr, "softmetal: FASTGO_CUBLAS=%s ignored: expected the file of cuBLASLt, or 0\n", path.c_str());
  }
  return place->second;
}

const void* pointer(DevicePointer address) { return reinterpret_cast<const void*>(address); }

}  // namespace

// What cuBLASLt is told: in its column-major order y^T = W x^T, so W is its A, x its B.
struct CublasLt::Plan {
  explicit Plan(const CublasLtFunctions& functions) : f(functions) {}
  ~Plan() {
    if (product) f.MatmulDescDestroy(product);
    for (void* matrix : {a, b, d}) {
      if (matrix) f.MatrixLayoutDestroy(matrix);
    }
  }

  bool describe(const ProductShape& shape) {
    const auto wide = static_cast<std::int64_t>(shape.columns), narrow = static_cast<std::int64_t>(shape.outputs);
    if (f.MatmulDescCreate(&product, compute_float, type_float) != 0) return false;
    f.MatmulDescSetAttribute(product, attribute_transpose_a, &operation_transpose, sizeof operation_transpose);
    return f.MatrixLayoutCreate(&a, type_bfloat, shape.columns, shape.outputs, wide) == 0 &&
           f.MatrixLayoutCreate(&b, type_bfloat, shape.columns, shape.rows, wide) == 0 &&
           f.MatrixLayoutCreate(&d, shape.has_bfloat_y ? type_bfloat : type_float, shape.outputs, shape.rows, narrow) ==
               0 &&
           set_batch(a, shape.batch, shape.weight_stride) && set_batch(b, shape.batch, 0) &&
           set_batch(d, shape.batch, shape.y_stride);
  }

  bool set_batch(void* matrix, std::int32_t batch, std::int64_t stride) {
    return f.MatrixLayoutSetAttribute(matrix, attribute_batch_count, &batch, sizeof batch) == 0 &&
           f.MatrixLayoutSetAttribute(matrix, attribute_batch_offset, &stride, sizeof stride) == 0;
  }

  bool choose(void* handle) {
    void* preference = nullptr;
    if (f.MatmulPreferenceCreate(&preference) != 0) return false;
    const std::uint64_t most = workspace_size;
    const auto least = static_cast<std::uint32_t>(alignment);
    f.MatmulPreferenceSetAttribute(preference, attribute_workspace, &most, sizeof most);
    for (const int attribute : attribute_alignments) {
      f.MatmulPreferenceSetAttribute(preference, attribute, &least, sizeof least);
    }
    int count = 0;
    const int result = f.MatmulAlgoGetHeuristic(handle, product, a, b, d, d, preference, 1, &proposal, &count);
    f.MatmulPreferenceDestroy(preference);
    return result == 0 && count == 1 && proposal.state == 0;
  }

  const CublasLtFunctions& f;
  void *product = nullptr, *a = nullptr, *b = nullptr, *d = nullptr;
  Proposal proposal{};
  bool is_there = false;
};

CublasLt::CublasLt(const CublasLtFunctions* functions, void* handle) : functions_(functions), handle_(handle) {}

CublasLt::~CublasLt() {
  plans_.clear();
  functions_->Destroy(handle_);
}

std::unique_ptr<const CublasLt> CublasLt::open(const std::string& path) {
  const CublasLtFunctions* functions = load_functions(path);
  void* handle = nullptr;
  if (!functions || functions->Create(&handle) != 0) return nullptr;
  return std::unique_ptr<const CublasLt>(new CublasLt(functions, handle));
}

bool CublasLt::can_multiply(const ProductShape& shape) const { return plan(shape).is_there; }

const CublasLt::Plan& CublasLt::plan(const ProductShape& shape) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (!plan) {
    plan = std::make_unique<Plan>(*functions_);
    plan->is_there = plan->describe(shape) && plan->choose(handle_);
  }
  return *plan;
}

bool CublasLt::multiply(const ProductShape& shape, DevicePointer x, DevicePointer weights, DevicePointer y,
                        DevicePointer workspace, StreamHandle stream) const {
  const Plan& how = plan(shape);
  const float one = 1.0f, zero = 0.0f;
  return how.is_there &&
         functions_->Matmul(handle_, how.product, &one, pointer(weights), how.a, pointer(x), how.b, &zero, pointer(y),
                            how.d, reinterpret_cast<void*>(y), how.d, how.proposal.algorithm,
                            reinterpret_cast<void*>(workspace), workspace_size, stream) == 0;
}

}  // namespace softmetal::cuda
