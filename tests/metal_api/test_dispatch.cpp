// Bindings, grids, threadgroup memory, simdgroups, function constants.
#include <algorithm>

#include "kernels.h"

using namespace metal_api;

namespace {

struct LineArgs {
  float scale, shift;
};

void check_coordinates(MTL::Size size, MTL::Size threads) {
  const std::size_t count = size.width * size.height * size.depth;
  const auto out = make_buffer(count * 4);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("coordinates").get());
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreads(size, threads);
  });
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t x = i % size.width, y = i / size.width % size.height, z = i / (size.width * size.height);
    CHECK_EQUAL(values_of(out)[i], x + 1000 * y + 1000000 * z);
  }
}

void check_reversed(const char* kernel, NS::UInteger threads, bool dynamic) {
  const std::size_t groups = 9;
  const auto values = buffer_of(counting(groups * threads));
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline(kernel).get());
    encoder->setBuffer(values.get(), 0, 0);
    if (dynamic) encoder->setThreadgroupMemoryLength((threads * 4 + 15) / 16 * 16, 0);
    encoder->dispatchThreadgroups(along_x(groups), along_x(threads));
  });
  for (std::size_t i = 0; i < groups * threads; ++i) {
    const std::size_t start = i / threads * threads;
    CHECK_EQUAL(values_of(values)[i], start + threads - 1 - (i - start));
  }
}

}  // namespace

TEST(set_bytes_offsets_and_partial_threadgroups) {
  std::vector<float> input(1000);
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i);
  const auto x = buffer_of(input);
  const auto y = make_buffer(4000);
  const auto line = pipeline("line");
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    const LineArgs args{2.0f, 0.5f};
    encoder->setComputePipelineState(line.get());
    encoder->setBytes(&args, sizeof args, 0);
    const MTL::Buffer* buffers[] = {x.get(), y.get()};
    const NS::UInteger offsets[] = {40, 80};
    encoder->setBuffers(buffers, offsets, NS::Range::Make(1, 2));
    encoder->dispatchThreads(along_x(333), along_x(64));
    encoder->setBufferOffset(0, 1);
    encoder->setBufferOffset(3200, 2);
    const LineArgs other{1.0f, -1.0f};
    encoder->setBytes(&other, sizeof other, 0);
    encoder->dispatchThreads(along_x(100), along_x(32));
  });
  const float* result = values_of<float>(y);
  CHECK_EQUAL(result[19], 0.0f);
  for (std::size_t i = 0; i < 333; ++i) CHECK_EQUAL(result[20 + i], 2.0f * static_cast<float>(i + 10) + 0.5f);
  CHECK_EQUAL(result[353], 0.0f);
  for (std::size_t i = 0; i < 100; ++i) CHECK_EQUAL(result[800 + i], static_cast<float>(i) - 1.0f);
  CHECK_EQUAL(result[900], 0.0f);
}

TEST(grids_of_one_to_three_dimensions) {
  check_coordinates(MTL::Size(1000, 1, 1), MTL::Size(64, 1, 1));
  check_coordinates(MTL::Size(33, 17, 1), MTL::Size(8, 8, 1));
  check_coordinates(MTL::Size(5, 7, 9), MTL::Size(4, 2, 3));
  check_coordinates(MTL::Size(1, 1, 50), MTL::Size(1, 1, 7));
}

TEST(partial_threadgroups_know_their_size) {
  const MTL::Size size(10, 5, 1), threads(4, 4, 1);
  const auto out = make_buffer(10 * 5 * 3 * 4);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("group_shape").get());
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreads(size, threads);
  });
  for (std::size_t y = 0; y < 5; ++y) {
    for (std::size_t x = 0; x < 10; ++x) {
      const std::uint32_t* found = values_of(out) + (y * 10 + x) * 3;
      const std::size_t width = x < 8 ? 4 : 2, height = y < 4 ? 4 : 1;
      CHECK_EQUAL(found[0], x / 4 + 100 * (y / 4));
      CHECK_EQUAL(found[1], width + 100 * height + 10000);
      CHECK_EQUAL(found[2], y % 4 * width + x % 4);
    }
  }
}

TEST(whole_threadgroups) {
  const auto out = make_buffer(6 * 4 * 3 * 4);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("group_shape").get());
    encoder->setBuffer(out.get(), 0, 0);
    encoder->dispatchThreadgroups(MTL::Size(2, 2, 1), MTL::Size(3, 2, 1));
  });
  const std::uint32_t* last = values_of(out) + (6 * 4 - 1) * 3;
  CHECK_EQUAL(last[0], 101u);
  CHECK_EQUAL(last[1], 10203u);
  CHECK_EQUAL(last[2], 5u);
}

TEST(static_threadgroup_memory) {
  for (const NS::UInteger threads : {1u, 32u, 50u, 128u}) check_reversed("reverse_static", threads, false);
  CHECK_EQUAL(pipeline("reverse_static")->staticThreadgroupMemoryLength(), 512u);
}

TEST(dynamic_threadgroup_memory) {
  for (const NS::UInteger threads : {4u, 64u, 1024u}) check_reversed("reverse_dynamic", threads, true);
}

TEST(simdgroup_functions) {
  const auto values = buffer_of(counting(256));
  const auto sums = make_buffer(1024), largest = make_buffer(1024), next = make_buffer(1024);
  const auto kernel = pipeline("simd_totals");
  CHECK_EQUAL(kernel->threadExecutionWidth(), 32u);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(kernel.get());
    const MTL::Buffer* buffers[] = {values.get(), sums.get(), largest.get(), next.get()};
    const NS::UInteger offsets[] = {0, 0, 0, 0};
    encoder->setBuffers(buffers, offsets, NS::Range::Make(0, 4));
    encoder->dispatchThreadgroups(along_x(2), along_x(128));
  });
  for (std::uint32_t i = 0; i < 256; ++i) {
    const std::uint32_t first = i / 32 * 32;
    CHECK_EQUAL(values_of(sums)[i], 32 * first + 31 * 16);
    CHECK_EQUAL(values_of(largest)[i], first + 31);
    CHECK_EQUAL(values_of(next)[i], (i ^ 1u) + i % 32);
  }
}

namespace {

// What `specialised` makes of 99.
int specialised(int factor, bool negate) {
  const auto constants = NS::TransferPtr(MTL::FunctionConstantValues::alloc()->init());
  constants->setConstantValue(&factor, MTL::DataTypeInt, NS::UInteger(0));
  constants->setConstantValue(&negate, MTL::DataTypeBool, text("negate"));
  NS::Error* error = nullptr;
  const auto kernels = library("specialised");
  const auto function = NS::TransferPtr(kernels->newFunction(text("specialised"), constants.get(), &error));
  CHECK(function && !error);
  const auto state = NS::TransferPtr(device()->newComputePipelineState(function.get(), &error));
  CHECK(state);
  const auto values = buffer_of(counting(100)), shift = buffer_of(std::vector<int>{1000});
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(state.get());
    encoder->setBuffer(values.get(), 0, 0);
    if (negate) encoder->setBuffer(shift.get(), 0, 1);  // otherwise the kernel does not have that argument
    encoder->dispatchThreads(along_x(100), along_x(32));
  });
  return values_of<int>(values)[99];
}

}  // namespace

TEST(function_constants_by_index_and_name) {
  CHECK_EQUAL(specialised(5, false), 495);
  CHECK_EQUAL(specialised(5, true), 505);
  CHECK_EQUAL(specialised(-2, false), -198);
}

TEST(large_grids_are_covered_once) {
  const std::size_t count = 3'000'001;
  const auto values = make_buffer(count * 4);
  run_compute([&](MTL::ComputeCommandEncoder* encoder) {
    encoder->setComputePipelineState(pipeline("triple_plus_one").get());
    encoder->setBuffer(values.get(), 0, 0);
    encoder->dispatchThreads(along_x(count), along_x(256));
  });
  const std::uint32_t* result = values_of(values);
  CHECK(std::all_of(result, result + count, [](std::uint32_t value) { return value == 1; }));
}
