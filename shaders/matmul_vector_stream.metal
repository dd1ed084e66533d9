// matmul_vector_stream: matmul_vector for plain floats of 16 bits, with weights fetched before the inputs are there.
//
//   x (columns,) float32, W (outputs, columns) of a streamed format, bias and y (outputs,) float32; columns a
//   multiple of 32
//
// Grid: (tiles of OUTPUTS outputs).
#include "include/finish.h"
#include "include/matmul_args.h"
#include "include/reduce.h"
#include "include/row_stream.h"

template <typename Format, uint OUTPUTS>
[[max_total_threads_per_threadgroup(STREAM_THREAD_LIMIT)]] kernel void matmul_vector_stream(
    constant MatmulVectorTileArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
    device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
    device const float* bias [[buffer(4), function_constant(has_bias)]], uint group [[threadgroup_position_in_grid]],
    uint lane [[thread_index_in_simdgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float scratch[MAX_TILE_SIMDGROUPS * OUTPUTS];
  TilePlace place = place_in_tiles(group, lane, simdgroup, OUTPUTS);
  Weights weights = {weight, args.planes};
  uint4 ahead[STREAM_UNITS];
  fetch_first_rounds<1, OUTPUTS>(&weights, args.outputs, place, ahead);
  wait_for_inputs();
  float sums[OUTPUTS];
  accumulate_rounds<Format, 1, OUTPUTS>(&weights, (device const float4*)x, args.outputs, place, ahead, sums);
  float total = gather_rounds<OUTPUTS>(sums, place, scratch);
  uint output = place.first_output + lane;
  if (place.part == 0 && lane < OUTPUTS && output < args.outputs) {
    y[output] = finished(total, bias, output);
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(                         \
      host)]] kernel decltype(matmul_vector_stream<Format, OUTPUTS>) matmul_vector_stream<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                                  \
  INSTANTIATE_TILE("matmul_vector_stream_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("matmul_vector_stream_" #name "_o2", Format, 2) \
  INSTANTIATE_TILE("matmul_vector_stream_" #name "_o4", Format, 4)
FOR_EACH_STREAM_FORMAT(INSTANTIATE)
