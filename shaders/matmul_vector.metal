// matmul_vector: y = act(x W^T + bias) for one row of x, on devices with many cores. matmul has the form for few.
//
//   x (columns,) float32, W (outputs, columns) of a format with units, bias and y (outputs,) float32; columns a
//   multiple of 32
//
// Grid: (tiles of outputs). A simdgroup computes OUTPUTS results; `parts` simdgroups share the columns of one tile.
#include "include/finish.h"
#include "include/matmul_args.h"
#include "include/matmul_vector.h"

template <typename Format, uint OUTPUTS>
kernel void matmul_vector(constant MatmulVectorArgs& args [[buffer(0)]], device const uchar* weight [[buffer(1)]],
                          device const float* x [[buffer(2)]], device float* y [[buffer(3)]],
                          device const float* bias [[buffer(4), function_constant(has_bias)]],
                          uint group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                          uint simdgroup [[simdgroup_index_in_threadgroup]],
                          uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[MAX_SIMDGROUPS * OUTPUTS];
  uint tile = group * (simdgroups / args.parts) + simdgroup / args.parts;
  VectorPlace place = {lane, simdgroup, args.parts, tile * OUTPUTS};
  Weights weights = {weight, args.planes};
  wait_for_inputs();
  float sums[OUTPUTS];
  accumulate_units<Format, 1, OUTPUTS>(&weights, x, args.outputs, args.columns, place, sums);
  float total = gather_sums<OUTPUTS>(sums, place, scratch);
  if (simdgroup % args.parts == 0 && lane < OUTPUTS && place.first_output + lane < args.outputs) {
    y[place.first_output + lane] = finished(total, bias, place.first_output + lane);
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul_vector<Format, OUTPUTS>) matmul_vector<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                           \
  INSTANTIATE_TILE("matmul_vector_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("matmul_vector_" #name "_o2", Format, 2) \
  INSTANTIATE_TILE("matmul_vector_" #name "_o4", Format, 4)
FOR_EACH_UNIT_FORMAT(INSTANTIATE)
