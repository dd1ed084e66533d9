// Knows the names, bindings and argument structs of shaders/matmul.metal, matmul_group.metal and matmul_glu.metal.
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

// A function constant of the command's pipeline; `missing` if it has none of that name.
template <typename T>
T constant_of(const Command& command, const char* name, T missing) {
  const auto& constants = static_cast<const CudaPipeline*>(command.pipeline)->constants;
  const fastgo::KernelReflection& kernel = *command.pipeline->reflection;
  for (std::uint32_t i = 0; i < kernel.constant_count && i < constants.size(); i++) {
    if (std::strcmp(kernel.constants[i].name, name) == 0) std::memcpy(&missing, constants[i].bytes.data(), sizeof(T));
  }
  return missing;
}

// Whether the products of a kernel that finishes them (shaders/include/finish.h) are left as they are but for a bias.
bool has_no_activation(const Command& command) {
  return constant_of<std::uint32_t>(command, "output_activation", SILU) == NO_ACTIVATION;
}

std::vector<LargeProduct> gated_product(const Context& context, const Command& command, const std::string& format) {
  MatmulGluArgs args;
  if (!read_arguments(context, command, &args)) return {};
  LargeProduct product = sized_as(args, format);
  const auto& buffers = command.buffers;
  product.matrix_count = 2;
  product.weights = {buffers[1], buffers[2]};
  product.planes = {planes_of(args.gate_planes), planes_of(args.up_planes)};
  product.x = buffers[3];
  product.y = buffers[4];
  product.activation = args.activation;
  return {product};
}

std::vector<LargeProduct> group_of_products(const Context& context, const Command& command, const std::string& format) {
  MatmulGroupArgs args;
  if (!read_arguments(context, command, &args)) return {};
  std::vector<LargeProduct> products;
  for (int i = 0; i < 3; i++) {
    LargeProduct product;
    product.format = format;
    product.rows = args.rows;
    product.outputs = args.outputs[i];
    product.columns = args.columns;
    product.weights = {command.buffers[1 + i], 0};
    product.planes[0] = planes_of(args.planes + i * 6);
    product.x = command.buffers[4];
    product.y = command.buffers[5 + i];
    product.bias = command.buffers[8 + i];
    products.push_back(product);
  }
  return products;
}

std::vector<LargeProduct> plain_product(const Context& context, const Command& command, const std::string& format) {
  MatmulArgs args;
  if (!read_arguments(context, command, &args)) return {};
  LargeProduct product = sized_as(args, format);
  product.weights = {command.buffers[1], 0};
  product.planes[0] = planes_of(args.planes);
  product.x = command.buffers[2];
  product.y = command.buffers[3];
  product.bias = command.buffers[4];
  return {product};
}

std::vector<LargeProduct> products_of(const Context& context, const Command& command) {
  const std::string name = command.pipeline->reflection->name;
  const std::string gated = format_in(name, "matmul_glu_"), grouped = format_in(name, "matmul_group_");
  if (!gated.empty()) return gated_product(context, command, gated);
  if (!has_no_activation(command)) return {};
  if (!grouped.empty()) return group_of_products(context, command, grouped);
  const std::string plain = format_in(name, "matmul_");
  return plain.empty() ? std::vector<LargeProduct>() : plain_product(context, command, plain);
}

}  // namespace

std::vector<LargeProduct> find_large_products(const Context& context, const Command& command) {
  if (command.kind != Command::Kind::dispatch) return {};
  std::vector<LargeProduct> products = products_of(context, command);
  for (LargeProduct& product : products) {
    product.has_bfloat_x = constant_of(command, "reads_bfloat", false);
    product.has_bfloat_y = constant_of(command, "writes_bfloat", false);
  }
  return products;
}

}  // namespace softmetal::cuda
