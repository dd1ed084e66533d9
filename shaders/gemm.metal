// gemm: y = act(a b + bias) of plain float matrices, batched, each operand in any layout.
//
//   a (batch, rows, inner), b (batch, inner, columns) of one float type, read by element strides: a transposed operand
//   has its strides swapped, one shared by the batch has a batch stride of 0; bias (columns,) float32;
//   y (batch, rows, columns) float32, dense
//
// Grid: (tiles of columns, tiles of rows, batch). A threadgroup of four simdgroups computes a tile of TILE x TILE; what
// lies beyond an edge counts as zero and is not written.
#include "include/activation.h"

struct GemmArgs {
  uint rows;
  uint columns;
  uint inner;
  uint activation;
  uint a_strides[3];
  uint b_strides[3];
};

constant constexpr uint TILE = 32;
constant constexpr uint TILE_INNER = 16;
constant constexpr uint THREADS = 128;
constant constexpr uint PART = 16;  // a simdgroup's rows and columns of the tile

constant bool has_bias [[function_constant(0)]];

// Copies count_rows x count_columns elements into a dense tile of HEIGHT x WIDTH floats, zeros around them.
template <typename T, uint HEIGHT, uint WIDTH>
inline void load_tile(device const T* source, uint row_stride, uint column_stride, uint count_rows, uint count_columns,
                      uint thread_index, threadgroup float* tile) {
  for (uint i = thread_index; i < HEIGHT * WIDTH; i += THREADS) {
    uint row = i / WIDTH;
    uint column = i % WIDTH;
    bool is_inside = row < count_rows && column < count_columns;
    tile[i] = is_inside ? float(source[ulong(row) * row_stride + ulong(column) * column_stride]) : 0.0f;
  }
}

template <typename T>
kernel void gemm(constant GemmArgs& args [[buffer(0)]], device const T* a [[buffer(1)]],
                 device const T* b [[buffer(2)]], device const float* bias [[buffer(3), function_constant(has_bias)]],
                 device float* y [[buffer(4)]], uint3 group [[threadgroup_position_in_grid]],
                 uint thread_index [[thread_index_in_threadgroup]], uint simdgroup [[simdgroup_index_in_threadgroup]]) {
  threadgroup float a_tile[TILE * TILE_INNER];
  threadgroup float b_tile[TILE_INNER * TILE];
  threadgroup float y_tile[TILE * TILE];
  uint first_row = group.y * TILE;
  uint first_column = group.x * TILE;
  uint count_rows = min(TILE, args.rows - first_row);
  uint count_columns = min(TILE, args.columns - first_column);
  uint part_row = simdgroup / 2 * PART;
  uint part_column = simdgroup % 2 * PART;
  device const T* a_rows = a + ulong(group.z) * args.a_strides[0] + ulong(first_row) * args.a_strides[1];
  device const T* b_columns = b + ulong(group.z) * args.b_strides[0] + ulong(first_column) * args.b_strides[2];

  simdgroup_float8x8 sums[4];
  for (uint i = 0; i < 4; i++) {
    sums[i] = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  }
  for (uint first = 0; first < args.inner; first += TILE_INNER) {
    uint count = min(TILE_INNER, args.inner - first);
    load_tile<T, TILE, TILE_INNER>(a_rows + ulong(first) * args.a_strides[2], args.a_strides[1], args.a_strides[2],
                                   count_rows, count, thread_index, a_tile);
    load_tile<T, TILE_INNER, TILE>(b_columns + ulong(first) * args.b_strides[1], args.b_strides[1], args.b_strides[2],
                                   count, count_columns, thread_index, b_tile);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (uint k = 0; k < TILE_INNER; k += 8) {
      simdgroup_float8x8 left[2];
      simdgroup_float8x8 right[2];
      for (uint i = 0; i < 2; i++) {
        simdgroup_load(left[i], a_tile + (part_row + 8 * i) * TILE_INNER + k, TILE_INNER);
        simdgroup_load(right[i], b_tile + k * TILE + part_column + 8 * i, TILE);
      }
      for (uint i = 0; i < 4; i++) {
        simdgroup_multiply_accumulate(sums[i], left[i / 2], right[i % 2], sums[i]);
      }
    }
    threadgroup_barrier(mem_flags::mem_threadgroup);
  }
  for (uint i = 0; i < 4; i++) {
    simdgroup_store(sums[i], y_tile + (part_row + i / 2 * 8) * TILE + part_column + i % 2 * 8, TILE);
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  device float* out = y + (ulong(group.z) * args.rows + first_row) * args.columns + first_column;
  for (uint i = thread_index; i < TILE * TILE; i += THREADS) {
    uint row = i / TILE;
    uint column = i % TILE;
    if (row < count_rows && column < count_columns) {
      float value = y_tile[i] + (has_bias ? bias[first_column + column] : 0.0f);
      out[ulong(row) * args.columns + column] = activate(args.activation, value);
    }
  }
}

template [[host_name("gemm_f32")]] kernel decltype(gemm<float>) gemm<float>;
template [[host_name("gemm_f16")]] kernel decltype(gemm<half>) gemm<half>;
template [[host_name("gemm_bf16")]] kernel decltype(gemm<bfloat>) gemm<bfloat>;
