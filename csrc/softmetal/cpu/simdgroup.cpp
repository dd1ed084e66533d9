// The collectives of simdgroup.h that depend on no type.
#include "softmetal/cpu/simdgroup.h"

namespace softmetal::cpu {

void Ballot::complete(Simdgroup& simdgroup) {
  const std::uint8_t* values = operands_of<std::uint8_t>(simdgroup);
  std::uint32_t bits = 0;
  for_lanes(simdgroup.live, [&](std::uint32_t lane) { bits |= static_cast<std::uint32_t>(values[lane] & 1) << lane; });
  results_of<std::uint32_t>(simdgroup)[0] = bits;
}

namespace {

typedef float Quad __attribute__((vector_size(16)));

union Matrix {
  float element[8][8];
  Quad quad[8][2];
};

}  // namespace

void MatrixMultiply::complete(Simdgroup& simdgroup) {
  const MatrixOperands* operands = operands_of<MatrixOperands>(simdgroup);
  Matrix a = {}, b = {}, d = {};
  for_lanes(simdgroup.live, [&](std::uint32_t lane) {
    const std::uint32_t row = matrix_row(lane), column = matrix_column(lane);
    for (std::uint32_t i = 0; i < 2; i++) {
      a.element[row][column + i] = operands[lane].a[i];
      b.element[row][column + i] = operands[lane].b[i];
      d.element[row][column + i] = operands[lane].c[i];
    }
  });
  for (int row = 0; row < 8; row++) {
    Quad left = d.quad[row][0], right = d.quad[row][1];
    for (int k = 0; k < 8; k++) {
      left += a.element[row][k] * b.quad[k][0];
      right += a.element[row][k] * b.quad[k][1];
    }
    d.quad[row][0] = left;
    d.quad[row][1] = right;
  }
  MatrixElements* results = results_of<MatrixElements>(simdgroup);
  for_lanes(simdgroup.live, [&](std::uint32_t lane) {
    for (std::uint32_t i = 0; i < 2; i++) results[lane].value[i] = d.element[matrix_row(lane)][matrix_column(lane) + i];
  });
}

}  // namespace softmetal::cpu
