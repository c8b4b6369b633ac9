#include "rows.h"

namespace figment::cuda::elementwise {

using figment::elementwise::Space;

Rows rowsOf(const Space& space, int perGroup) {
  Rows rows = {};
  rows.outerRank = space.rank > 0 ? space.rank - 1 : 0;
  rows.length = space.rank > 0 ? space.dims[space.rank - 1] : 1;
  rows.groupsPerRow = ceilDiv(rows.length, int64_t(perGroup));
  rows.groups = rows.groupsPerRow;
  for (int d = 0; d < rows.outerRank; d++) {
    rows.dims[d] = space.dims[d];
    rows.groups *= space.dims[d];
  }
  rows.small = rows.groups < int64_t(1) << 31;
  if (!rows.small) return rows;
  rows.byGroups = Divisor(uint32_t(rows.groupsPerRow));
  for (int d = 0; d < rows.outerRank; d++) rows.byDim[d] = Divisor(uint32_t(rows.dims[d]));
  return rows;
}

Strides stridesOf(const Space& space, int operand) {
  Strides strides = {};
  const int outer = space.rank > 0 ? space.rank - 1 : 0;
  strides.inner = space.rank > 0 ? space.strides[operand][outer] : 0;
  for (int d = 0; d < outer; d++) strides.outer[d] = space.strides[operand][d];
  return strides;
}

bool aligned(const Rows& rows, const Strides& strides, const Operand& operand, int perGroup) {
  if (strides.inner != 1) return false;
  const size_t bytes = size_t(perGroup) * formatBytes(operand.format);
  if (reinterpret_cast<uintptr_t>(operand.data) % bytes != 0) return false;
  for (int d = 0; d < rows.outerRank; d++)
    if (strides.outer[d] % perGroup != 0) return false;
  return true;
}

}  // namespace figment::cuda::elementwise
