// How a reduction is cut into chunks: by shape alone, so that its rounding never depends on
// threads. Each chunk leaves a partial result; a second pass combines the partials of an output,
// sums in f64.
#pragma once

#include "shape.h"

namespace figment::reduce {

/// Elements that one chunk accumulates in f32.
constexpr int64_t kChunkElements = 16384;
/// Most segments that follow each other in one accumulator, so that rounding errors stay small.
constexpr int64_t kChunkSegments = 1024;
/// Rows of at most this many elements are reduced four at a time.
constexpr int64_t kShortRow = 512;
/// Rows of up to this many columns are taken sixteen at a time, as one long row.
constexpr int64_t kFewColumns = 127;
constexpr int64_t kFoldedRows = 16;

struct Split {
  Shape shape;
  int64_t columns = 1;   ///< outputs that one chunk makes side by side
  int64_t segments = 1;  ///< contiguous pieces per output row: rows, or parts of very long rows
  int64_t segmentsPerRow = 1;
  int64_t perChunk = 1;    ///< segments of a chunk
  int64_t chunks = 1;      ///< per output row
  bool shortRows = false;  ///< each output is one short row, and rows follow each other
  bool folded = false;     ///< few columns, and rows that follow each other without gaps
};

Split splitReduction(const OpCall& call);

/// Bytes of all partial results.
size_t partialBytes(const OpCall& call);

}  // namespace figment::reduce
