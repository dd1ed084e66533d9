// matmul_glu_vector: y = act(x Wgate^T) * (x Wup^T) for one row of x, on devices with many cores.
//
//   x (columns,) float32, Wgate and Wup (outputs, columns) of one format with units, y (outputs,) float32
//
// Grid: (tiles of outputs), as matmul_vector's.
#include "include/activation.h"
#include "include/matmul_args.h"
#include "include/matmul_vector.h"

template <typename Format, uint OUTPUTS>
kernel void matmul_glu_vector(constant MatmulGluVectorArgs& args [[buffer(0)]], device const uchar* gate [[buffer(1)]],
                              device const uchar* up [[buffer(2)]], device const float* x [[buffer(3)]],
                              device float* y [[buffer(4)]], uint group [[threadgroup_position_in_grid]],
                              uint lane [[thread_index_in_simdgroup]],
                              uint simdgroup [[simdgroup_index_in_threadgroup]],
                              uint simdgroups [[simdgroups_per_threadgroup]]) {
  threadgroup float scratch[MAX_SIMDGROUPS * 2 * OUTPUTS];
  uint tile = group * (simdgroups / args.parts) + simdgroup / args.parts;
  VectorPlace place = {lane, simdgroup, args.parts, tile * OUTPUTS};
  Weights matrices[2] = {{gate, args.gate_planes}, {up, args.up_planes}};
  wait_for_inputs();
  float sums[2 * OUTPUTS];
  accumulate_units<Format, 2, OUTPUTS>(matrices, x, args.outputs, args.columns, place, sums);
  float total = gather_sums<2 * OUTPUTS>(sums, place, scratch);
  float up_value = simd_shuffle_down(total, OUTPUTS);
  if (simdgroup % args.parts == 0 && lane < OUTPUTS && place.first_output + lane < args.outputs) {
    y[place.first_output + lane] = activate(args.activation, total) * up_value;
  }
}

#define INSTANTIATE_TILE(host, Format, OUTPUTS) \
  template [[host_name(host)]] kernel decltype(matmul_glu_vector<Format, OUTPUTS>) matmul_glu_vector<Format, OUTPUTS>;
#define INSTANTIATE(name, Format)                               \
  INSTANTIATE_TILE("matmul_glu_vector_" #name "_o1", Format, 1) \
  INSTANTIATE_TILE("matmul_glu_vector_" #name "_o2", Format, 2)
FOR_EACH_UNIT_FORMAT(INSTANTIATE)
