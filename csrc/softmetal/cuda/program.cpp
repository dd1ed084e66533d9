// Prepares launches, and builds and runs graphs of them.
#include "softmetal/cuda/program.h"

#include "softmetal/cuda/pipeline.h"

namespace softmetal::cuda {
namespace {

constexpr int programmatic_architecture = 90;  // the oldest with programmatic dependent launch

bool is_empty(const Command& command) {
  const Extent& groups = command.threadgroups_per_grid;
  return command.kind == Command::Kind::dispatch && (groups.x == 0 || groups.y == 0 || groups.z == 0);
}

}  // namespace

CudaProgram::CudaProgram(std::shared_ptr<Context> context, std::shared_ptr<LargeProducts> products,
                         const std::vector<Command>& commands, bool replayed)
    : context_(std::move(context)),
      commands_(commands),
      launches_(commands.size()),
      is_product_(commands.size(), false) {
  bool only_dispatches = true;
  for (std::size_t i = 0; i < commands_.size(); i++) {
    const bool is_dispatch = commands_[i].kind == Command::Kind::dispatch;
    only_dispatches = only_dispatches && is_dispatch && !is_empty(commands_[i]);
    if (is_dispatch) launches_[i].prepare(commands_[i]);
  }
  if (replayed && only_dispatches && !commands_.empty()) problem_ = make_graph(std::move(products));
}

CudaProgram::~CudaProgram() {
  if (graph_ && context_->enter().empty()) context_->cuda().GraphExecDestroy(graph_);
}

// Tries the fastest form first.
std::string CudaProgram::make_graph(std::shared_ptr<LargeProducts> products) {
  const std::string problem = context_->enter();
  if (!problem.empty()) return problem;
  find_stages();
  find_products(std::move(products));
  const Cuda& cuda = context_->cuda();
  const bool can_overlap = cuda.GraphAddDependencies && context_->architecture() >= programmatic_architecture;
  Result result = build_graph(can_overlap);
  if (result != success && products_) {
    products_.reset();
    is_product_.assign(commands_.size(), false);
    result = build_graph(can_overlap);
  }
  if (result != success && can_overlap) result = build_graph(false);
  return result == success ? "" : "the GPU can't make a graph of the program: " + cuda.describe(result);
}

void CudaProgram::find_stages() {
  for (std::size_t i = 0; i < commands_.size(); i++) {
    if (i == 0 || commands_[i].barrier) stages_.push_back({i, i});
    stages_.back().end = i + 1;
  }
}

void CudaProgram::find_products(std::shared_ptr<LargeProducts> products) {
  auto recorder = std::make_unique<ProductRecorder>(std::move(products));
  for (std::size_t number = 0; number < stages_.size(); number++) {
    for (std::size_t i = stages_[number].begin; i < stages_[number].end; i++) {
      is_product_[i] = recorder->add(number, commands_[i]);
    }
  }
  if (recorder->is_empty()) return;
  if (recorder->prepare()) {
    products_ = std::move(recorder);
  } else {
    is_product_.assign(commands_.size(), false);
  }
}

Result CudaProgram::build_graph(bool programmatic) {
  const Cuda& cuda = context_->cuda();
  GraphHandle graph = nullptr;
  Result result = cuda.GraphCreate(&graph, 0);
  Previous previous;
  for (std::size_t number = 0; number < stages_.size() && result == success; number++) {
    result = add_stage(graph, number, programmatic && number > 1, previous);
  }
  if (result == success && products_) result = products_->finish();
  if (result == success) result = cuda.GraphInstantiate(&graph_, graph, 0);
  if (graph) cuda.GraphDestroy(graph);
  return result;
}

// Every kernel waits for what it depends on before it reads what that wrote, so programmatic edges only hide its
// launch. They join kernels only. What the first stage writes may be read without waiting
// (shaders/include/early_start.h), so the second stage is not launched before that is done, and with it nothing that
// follows.
Result CudaProgram::add_stage(GraphHandle graph, std::size_t number, bool programmatic, Previous& previous) {
  const Cuda& cuda = context_->cuda();
  const bool is_early = programmatic && previous.only_kernels && !previous.nodes.empty();
  Previous added;
  bool has_products = false;
  for (std::size_t i = stages_[number].begin; i < stages_[number].end; i++) {
    has_products = has_products || is_product_[i];
    const Result result = is_product_[i] ? success : add_kernel(graph, i, is_early, previous, added.nodes);
    if (result != success) return result;
  }
  if (has_products) {
    GraphHandle products = products_->capture(number);
    if (!products) return error_unknown;
    GraphNodeHandle node = nullptr;
    const Result result =
        cuda.GraphAddChildGraphNode(&node, graph, previous.nodes.data(), previous.nodes.size(), products);
    cuda.GraphDestroy(products);
    if (result != success) return result;
    added.nodes.push_back(node);
    added.only_kernels = false;
  }
  previous = std::move(added);
  return success;
}

Result CudaProgram::add_kernel(GraphHandle graph, std::size_t index, bool is_early, const Previous& previous,
                               std::vector<GraphNodeHandle>& nodes) {
  const Cuda& cuda = context_->cuda();
  GraphNodeHandle node = nullptr;
  Result result = cuda.GraphAddKernelNode(&node, graph, is_early ? nullptr : previous.nodes.data(),
                                          is_early ? 0 : previous.nodes.size(), &launches_[index].node);
  for (const GraphNodeHandle& before : previous.nodes) {
    if (!is_early || result != success) break;
    result = cuda.GraphAddDependencies(graph, &before, &node, &programmatic_edge, 1);
  }
  nodes.push_back(node);
  return result;
}

Result CudaProgram::enqueue_one(std::size_t index, StreamHandle stream) const {
  const Cuda& cuda = context_->cuda();
  const Command& command = commands_[index];
  if (command.kind == Command::Kind::copy) {
    return cuda.MemcpyAsync(command.destination, command.source, command.length, stream);
  }
  if (command.kind == Command::Kind::fill) {
    return cuda.MemsetD8Async(command.destination, command.value, command.length, stream);
  }
  if (is_empty(command)) return success;
  return launches_[index].enqueue(cuda, stream);
}

std::string CudaProgram::enqueue(StreamHandle stream) const {
  if (!problem_.empty()) return problem_;
  if (graph_) {
    const auto launch = [&](StreamHandle into) { return context_->cuda().GraphLaunch(graph_, into); };
    const Result result = products_ ? products_->scratch()->use(stream, launch) : launch(stream);
    return result == success ? "" : "the GPU does not take the program: " + context_->cuda().describe(result);
  }
  for (std::size_t i = 0; i < commands_.size(); i++) {
    const Result result = enqueue_one(i, stream);
    if (result != success) return describe(i, result);
  }
  return "";
}

std::string CudaProgram::describe(std::size_t index, Result result) const {
  const Command& command = commands_[index];
  const std::string what = command.kind == Command::Kind::dispatch
                               ? "kernel " + std::string(command.pipeline->reflection->name)
                               : std::string(command.kind == Command::Kind::copy ? "a copy" : "a fill");
  return "the GPU does not take " + what + ": " + context_->cuda().describe(result);
}

}  // namespace softmetal::cuda
