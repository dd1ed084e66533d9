// The collectives of simdgroup.h that depend on no type.
#include "softmetal/cpu/simdgroup.h"

namespace softmetal::cpu {

void Ballot::complete(Simdgroup& simdgroup) {
  const std::uint8_t* values = operands_of<std::uint8_t>(simdgroup);
  std::uint32_t bits = 0;
  for_lanes(simdgroup.live, [&](std::uint32_t lane) { bits |= static_cast<std::uint32_t>(values[lane] & 1) << lane; });
  results_of<std::uint32_t>(simdgroup)[0] = bits;
}

void MatrixMultiply::complete(Simdgroup& simdgroup) {
  const MatrixOperands* operands = operands_of<MatrixOperands>(simdgroup);
  float a[8][8] = {}, b[8][8] = {}, d[8][8] = {};
  for_lanes(simdgroup.live, [&](std::uint32_t lane) {
    const std::uint32_t row = matrix_row(lane), column = matrix_column(lane);
    for (std::uint32_t i = 0; i < 2; i++) {
      a[row][column + i] = operands[lane].a[i];
      b[row][column + i] = operands[lane].b[i];
      d[row][column + i] = operands[lane].c[i];
    }
  });
  for (int row = 0; row < 8; row++) {
    for (int k = 0; k < 8; k++) {
      for (int column = 0; column < 8; column++) d[row][column] += a[row][k] * b[k][column];
    }
  }
  MatrixElements* results = results_of<MatrixElements>(simdgroup);
  for_lanes(simdgroup.live, [&](std::uint32_t lane) {
    for (std::uint32_t i = 0; i < 2; i++) results[lane].value[i] = d[matrix_row(lane)][matrix_column(lane) + i];
  });
}

}  // namespace softmetal::cpu
