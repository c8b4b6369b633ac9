// How the elements of a call are handed to threads: dimensions are sorted by the first output's
// memory and merged, the innermost is cut into groups of a few elements, and a thread takes one
// group after the other. All elements of a group lie in one row.
#pragma once

#include "../../device/divisor.h"
#include "kernels/elementwise/layout.h"

namespace figment::cuda::elementwise {

constexpr int kMaxOuter = kMaxRank - 1;

struct Rows {
  int64_t length;  ///< of a row
  int64_t groupsPerRow;
  int64_t groups;
  int outerRank;  ///< dimensions that number the rows, outermost first
  int64_t dims[kMaxOuter];
  bool small;        ///< 32 bits number the groups
  Divisor byGroups;  ///< groupsPerRow
  Divisor byDim[kMaxOuter];

#ifdef FIGMENT_KERNELS
  /// Where a group begins: its first element's place in the row, and the row's coordinates.
  FIGMENT_DEVICE int64_t locate(int64_t group, int perGroup, int64_t (&at)[kMaxOuter]) const {
    if (small) {
      uint32_t rest = byGroups.quotient(uint32_t(group));
      const uint32_t within = uint32_t(group) - rest * byGroups.divisor;
      FIGMENT_UNROLL
      for (int d = kMaxOuter - 1; d >= 0; d--) {
        at[d] = 0;
        if (d >= outerRank) continue;
        const uint32_t next = byDim[d].quotient(rest);
        at[d] = rest - next * byDim[d].divisor;
        rest = next;
      }
      return int64_t(within) * perGroup;
    }
    int64_t rest = group / groupsPerRow;
    const int64_t within = group - rest * groupsPerRow;
    FIGMENT_UNROLL
    for (int d = kMaxOuter - 1; d >= 0; d--) {
      at[d] = 0;
      if (d >= outerRank) continue;
      const int64_t next = rest / dims[d];
      at[d] = rest - next * dims[d];
      rest = next;
    }
    return within * perGroup;
  }
#endif
};

/// Of a call that is not empty.
Rows rowsOf(const figment::elementwise::Space& space, int perGroup);

/// Where an operand's elements lie: strides of the rows' dimensions and within a row, in elements.
struct Strides {
  int64_t inner;
  int64_t outer[kMaxOuter];
};
Strides stridesOf(const figment::elementwise::Space& space, int operand);

/// Whether every group of so many elements lies together, on a multiple of its size in memory.
bool aligned(const Rows& rows, const Strides& strides, const Operand& operand, int perGroup);

}  // namespace figment::cuda::elementwise
