// How groupNorm, batchNorm and their derivatives cut one sample [spatial,c] into vector-friendly
// rows. Pixels are folded r at a time into rows of r·c columns, so that few channels still fill
// registers; pixels that do not fill a row are the tail. Rows form chunks that stay in the
// first-level cache, chunks form segments, the units of parallel work. All of it follows from the
// shape, so sums have one order.
#pragma once

#include "../params/groupNorm.generated.h"
#include "isa_variant.h"

namespace figment::FIGMENT_ISA {

struct GroupLayout {
  int64_t c, groups, groupWidth;
  int64_t fold;         ///< pixels a row
  int64_t columns;      ///< fold · c
  int64_t rows;         ///< whole rows of a sample
  int64_t tailColumns;  ///< elements after the last whole row
  int64_t chunkRows;
  int64_t segmentRows;  ///< a multiple of chunkRows
  int64_t segments;     ///< at least 1

  GroupLayout(int64_t spatial, int64_t channels, int64_t groupCount)
      : c(channels), groups(groupCount), groupWidth(channels / larger(groupCount, 1)), fold(1) {
    constexpr int64_t kFewColumns = 64, kColumnMultiple = 16;
    constexpr int64_t kChunkElements = 4096, kFewestRows = 8, kMostSegments = 32;
    if (c > 0)
      while (c * fold < kFewColumns || (fold > 1 && c * fold % kColumnMultiple != 0)) fold++;
    columns = c * fold;
    rows = c > 0 ? spatial / fold : 0;
    tailColumns = spatial % fold * c;
    chunkRows = larger(kFewestRows, kChunkElements / larger(columns, 1));
    segmentRows = larger(1, ceilDivide(ceilDivide(rows, chunkRows), kMostSegments)) * chunkRows;
    segments = larger(1, ceilDivide(rows, segmentRows));
  }

  int64_t sampleElements() const { return rows * columns + tailColumns; }
  int64_t groupElements() const { return sampleElements() / larger(groups, 1); }
  int64_t segmentBegin(int64_t segment) const { return segment * segmentRows; }
  int64_t segmentEnd(int64_t segment) const { return smaller(rows, (segment + 1) * segmentRows); }
  /// Whether a sample read a second time has left the second-level cache since the first.
  bool passesCache() const {
    constexpr int64_t kCachedElements = 128 << 10;
    return sampleElements() > kCachedElements;
  }
  int64_t columnFloats() const { return alignedFloats(columns); }

  /// True when samples are too few to keep the threads evenly busy, so segments are shared out.
  bool splitSamples(int64_t n, int threads) const {
    constexpr int kRounds = 16;  // an uneven last round then costs little
    return segments > 1 && n % threads != 0 && n < int64_t(kRounds) * threads;
  }
};

/// Batch normalisation as group normalisation: one long sample, each channel a group.
template <class BatchParams>
FIGMENT_INLINE GroupNormParams batchAsGroups(const BatchParams& p) {
  return {.n = 1,
          .spatial = p.rows,
          .c = p.c,
          .groups = int32_t(p.c),
          .activation = p.activation,
          .slope = p.slope,
          .eps = p.eps};
}

/// Spreads one value per channel over the columns of a row.
FIGMENT_INLINE void repeatChannels(const GroupLayout& layout, float* columns) {
  for (int64_t i = layout.c; i < layout.columns; i++) columns[i] = columns[i - layout.c];
}

}  // namespace figment::FIGMENT_ISA
