// Captures a stream that runs the helpers and cuBLASLt.
#include "softmetal/cuda/product_recorder.h"

#include <algorithm>
#include <cstring>

#include "include/elementwise_args.h"
#include "softmetal/cuda/launch.h"

namespace softmetal::cuda {
namespace {

constexpr std::size_t argument_alignment = 64;

std::uint32_t divide_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

Extent elementwise_groups(std::uint32_t count) {
  return {divide_up(count, ELEMENTWISE_THREADS * ELEMENTWISE_EACH), 1, 1};
}

}  // namespace

ProductRecorder::~ProductRecorder() {
  if (arguments_ != 0 && products_->context()->enter().empty()) products_->context()->cuda().MemFree(arguments_);
}

bool ProductRecorder::add(std::size_t stage, const Command& command) {
  const std::vector<LargeProduct> found = find_large_products(*products_->context(), command);
  const auto takes = [&](const LargeProduct& product) { return products_->takes(product); };
  if (found.empty() || !std::all_of(found.begin(), found.end(), takes)) return false;
  stages_[stage].insert(stages_[stage].end(), found.begin(), found.end());
  return true;
}

bool ProductRecorder::prepare() {
  // Planned twice: pairs go by addresses, which are known once the scratch memory's size is.
  std::size_t size = 0, helpers = 0;
  for (const auto& [number, products] : stages_) {
    const ProductStage stage = plan_stage(products, 0, *products_->cublas());
    size = std::max(size, stage.scratch_size);
    helpers += stage.helper_count();
  }
  scratch_ = products_->scratch().block(size);
  if (!scratch_) return false;
  for (const auto& [number, products] : stages_) {
    plans_[number] = plan_stage(products, scratch_->address(), *products_->cublas());
  }
  argument_bytes_.reserve(helpers * argument_alignment);
  return products_->context()->cuda().MemAlloc(&arguments_, helpers * argument_alignment) == success;
}

GraphHandle ProductRecorder::capture(std::size_t stage) {
  const auto plan = plans_.find(stage);
  if (plan == plans_.end()) return nullptr;
  const Cuda& cuda = products_->context()->cuda();
  StreamHandle stream = nullptr;
  GraphHandle graph = nullptr;
  if (cuda.StreamCreate(&stream, stream_non_blocking) != success) return nullptr;
  if (cuda.StreamBeginCapture(stream, capture_relaxed) == success) {
    const Result result = enqueue(plan->second, stream);
    if (cuda.StreamEndCapture(stream, &graph) != success) graph = nullptr;
    if (result != success && graph) {
      cuda.GraphDestroy(graph);
      graph = nullptr;
    }
  }
  cuda.StreamDestroy(stream);
  return graph;
}

Result ProductRecorder::finish() {
  const Cuda& cuda = products_->context()->cuda();
  const Result result = cuda.MemcpyAsync(arguments_, reinterpret_cast<DevicePointer>(argument_bytes_.data()),
                                         argument_bytes_.size(), nullptr);
  return result == success ? cuda.StreamSynchronize(nullptr) : result;
}

Result ProductRecorder::enqueue(const ProductStage& stage, StreamHandle stream) {
  for (const ProductStage::Cast& cast : stage.casts) {
    const CastArgs args = {cast.count};
    const Result result =
        enqueue_helper(products_->pipeline("cast", "cast_f32_bf16"), &args, sizeof args, {cast.from, cast.to},
                       elementwise_groups(cast.count), ELEMENTWISE_THREADS, stream);
    if (result != success) return result;
  }
  for (const ProductStage::Dequantize& tensor : stage.dequantized) {
    DequantizeArgs args = {tensor.columns, {}};
    std::copy(tensor.planes.begin(), tensor.planes.end(), args.planes);
    const Extent groups = {divide_up(tensor.columns, DEQUANTIZE_COLUMNS), tensor.rows, 1};
    const Result result = enqueue_helper(products_->pipeline("dequantize", "dequantize_bf16_" + tensor.format), &args,
                                         sizeof args, {tensor.weights, tensor.to}, groups, simdgroup_width, stream);
    if (result != success) return result;
  }
  for (const ProductStage::Multiply& product : stage.multiplied) {
    if (!products_->cublas()->multiply(product.shape, product.x, product.weights, product.y, stage.workspace, stream)) {
      return error_unknown;
    }
  }
  for (const ProductStage::Bias& bias : stage.biased) {
    const BiasAddArgs args = {bias.columns};
    const Extent groups = {divide_up(bias.columns, ELEMENTWISE_THREADS), bias.rows, 1};
    const Result result = enqueue_helper(products_->pipeline("bias_add", "bias_add"), &args, sizeof args,
                                         {bias.y, bias.bias, bias.y}, groups, ELEMENTWISE_THREADS, stream);
    if (result != success) return result;
  }
  for (const ProductStage::Glu& glu : stage.gated) {
    const GluArgs args = {glu.count, glu.activation};
    const Result result =
        enqueue_helper(products_->pipeline("glu", glu.is_bfloat ? "glu_bf16" : "glu"), &args, sizeof args,
                       {glu.gate, glu.up, glu.y}, elementwise_groups(glu.count), ELEMENTWISE_THREADS, stream);
    if (result != success) return result;
  }
  return success;
}

// The kernel's buffers are its argument struct and `buffers`, in this order.
Result ProductRecorder::enqueue_helper(const CudaPipeline* pipeline, const void* args, std::size_t size,
                                       const std::vector<DevicePointer>& buffers, Extent groups, std::uint32_t threads,
                                       StreamHandle stream) {
  if (!pipeline) return error_unknown;
  const std::size_t offset = argument_bytes_.size();
  argument_bytes_.resize(offset + argument_alignment);
  std::memcpy(argument_bytes_.data() + offset, args, size);
  Command command;
  command.pipeline = pipeline;
  command.threadgroups_per_grid = groups;
  command.threads_per_threadgroup = {threads, 1, 1};
  command.threads_per_grid = {groups.x * threads, groups.y, groups.z};
  command.buffers[0] = arguments_ + offset;
  std::copy(buffers.begin(), buffers.end(), command.buffers.begin() + 1);
  Launch launch;
  launch.prepare(command);
  return launch.enqueue(products_->context()->cuda(), stream);
}

}  // namespace softmetal::cuda
