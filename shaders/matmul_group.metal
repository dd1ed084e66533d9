// matmul_group: the products of many rows with three weights of one format, each with a bias of its own, in one launch.
//
//   x (rows, columns) float32 or bfloat, see reads_bfloat; first, second and third (outputs[i], columns); biases
//   (outputs[i],) float32; y_first, y_second and y_third (rows, outputs[i]) float32
//
// Grid: (tiles of rows, tiles of the first's outputs, then of the second's, then of the third's).
#include "include/many_products.h"
#include "include/matmul_args.h"

template <typename Format, uint SIDE>
kernel void matmul_group(constant MatmulGroupArgs& args [[buffer(0)]], device const uchar* first [[buffer(1)]],
                         device const uchar* second [[buffer(2)]], device const uchar* third [[buffer(3)]],
                         device const float* x [[buffer(4)]], device float* y_first [[buffer(5)]],
                         device float* y_second [[buffer(6)]], device float* y_third [[buffer(7)]],
                         device const float* bias_first [[buffer(8), function_constant(has_bias)]],
                         device const float* bias_second [[buffer(9), function_constant(has_bias)]],
                         device const float* bias_third [[buffer(10), function_constant(has_bias)]],
                         uint2 group [[threadgroup_position_in_grid]], uint lane [[thread_index_in_simdgroup]],
                         uint thread_index [[thread_index_in_threadgroup]],
                         uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float4 memory[SIDE * MANY_VECTORS];
  uint second_tile = (args.outputs[0] + SIDE - 1) / SIDE;
  uint third_tile = second_tile + (args.outputs[1] + SIDE - 1) / SIDE;
  uint which = uint(group.y >= second_tile) + uint(group.y >= third_tile);
  uint tile = group.y - (which == 0 ? 0 : (which == 1 ? second_tile : third_tile));
  device const uchar* weight = which == 0 ? first : (which == 1 ? second : third);
  device const float* bias = which == 0 ? bias_first : (which == 1 ? bias_second : bias_third);
  device float* y = which == 0 ? y_first : (which == 1 ? y_second : y_third);
  InputRows inputs = {x, group.x * SIDE, args.rows, args.columns, reads_bfloat};
  MatmulRows rows = {{weight, args.planes + which * 6}, tile * SIDE, args.outputs[which]};
  write_tile<Format, SIDE>(rows, inputs, bias, y, lane, thread_index, simdgroup, memory);
}

#define INSTANTIATE_SIDE(host, Format, SIDE) \
  template [[host_name(host)]] kernel decltype(matmul_group<Format, SIDE>) matmul_group<Format, SIDE>;
#define INSTANTIATE(name, Format)                            \
  INSTANTIATE_SIDE("matmul_group_" #name "_r64", Format, 64) \
  INSTANTIATE_SIDE("matmul_group_" #name "_r128", Format, 128)
FOR_EACH_WEIGHT_FORMAT(INSTANTIATE)
