// Knows the names, bindings and argument structs of shaders/matmul.metal and shaders/matmul_glu.metal.
#include "softmetal/cuda/large_product.h"

#include <algorithm>
#include <cstring>

#include "include/matmul_args.h"
#include "softmetal/cuda/pipeline.h"

namespace softmetal::cuda {
namespace {

bool starts_with(const std::string& text, const std::string& start) { return text.rfind(start, 0) == 0; }

// What stands between `start` and the suffix of the forms for many rows; "" if the name is of another kind.
std::string format_in(const std::string& name, const std::string& start) {
  for (const std::string end : {"_r64", "_r128"}) {
    if (starts_with(name, start) && name.size() > start.size() + end.size() &&
        name.compare(name.size() - end.size(), end.size(), end) == 0) {
      return name.substr(start.size(), name.size() - start.size() - end.size());
    }
  }
  return "";
}

template <typename Args>
bool read_arguments(const Context& context, const Command& command, Args* args) {
  const Cuda& cuda = context.cuda();
  return cuda.MemcpyAsync(reinterpret_cast<DevicePointer>(args), command.buffers[0], sizeof(Args), nullptr) ==
             success &&
         cuda.StreamSynchronize(nullptr) == success;
}

template <typename Args>
LargeProduct sized_as(const Args& args, const std::string& format) {
  LargeProduct product;
  product.format = format;
  product.rows = args.rows;
  product.outputs = args.outputs;
  product.columns = args.columns;
  return product;
}

Planes planes_of(const uint* planes) {
  Planes copied;
  std::copy(planes, planes + copied.size(), copied.begin());
  return copied;
}

// Whether the kernel leaves its products as they are: without a bias or an activation (shaders/include/finish.h).
bool is_plain(const Command& command) {
  const auto& constants = static_cast<const CudaPipeline*>(command.pipeline)->constants;
  const fastgo::KernelReflection& kernel = *command.pipeline->reflection;
  for (std::uint32_t i = 0; i < kernel.constant_count && i < constants.size(); i++) {
    const bool is_activation = std::strcmp(kernel.constants[i].name, "output_activation") == 0;
    if (!is_activation && std::strcmp(kernel.constants[i].name, "has_bias") != 0) continue;
    std::uint32_t value = 0;
    std::memcpy(&value, constants[i].bytes.data(), is_activation ? sizeof value : sizeof(bool));
    if (value != (is_activation ? NO_ACTIVATION : 0u)) return false;
  }
  return true;
}

}  // namespace

std::optional<LargeProduct> find_large_product(const Context& context, const Command& command) {
  if (command.kind != Command::Kind::dispatch) return std::nullopt;
  const std::string name = command.pipeline->reflection->name;
  const auto& buffers = command.buffers;
  const std::string gated = format_in(name, "matmul_glu_"), plain = format_in(name, "matmul_");
  if (!gated.empty()) {
    MatmulGluArgs args;
    if (!read_arguments(context, command, &args)) return std::nullopt;
    LargeProduct product = sized_as(args, gated);
    product.matrix_count = 2;
    product.weights = {buffers[1], buffers[2]};
    product.planes = {planes_of(args.gate_planes), planes_of(args.up_planes)};
    product.x = buffers[3];
    product.y = buffers[4];
    product.activation = args.activation;
    return product;
  }
  if (plain.empty() || !is_plain(command)) return std::nullopt;
  MatmulArgs args;
  if (!read_arguments(context, command, &args)) return std::nullopt;
  LargeProduct product = sized_as(args, plain);
  product.weights = {buffers[1], 0};
  product.planes[0] = planes_of(args.planes);
  product.x = buffers[2];
  product.y = buffers[3];
  return product;
}

}  // namespace softmetal::cuda
