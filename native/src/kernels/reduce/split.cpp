// Merging the dimensions of a reduction and cutting it into chunks.
#include "split.h"

#include "../params/reduce.generated.h"

namespace figment::reduce {

Shape mergeShape(const Operand& x, int32_t axes) {
  struct Run {
    int64_t dim, stride;
    bool reduced;
  } runs[kMaxRank];
  int count = 0;
  for (int d = 0; d < x.rank; d++) {
    const bool reduced = (axes >> d & 1) != 0;
    if (x.dims[d] == 1) continue;
    if (count > 0 && runs[count - 1].reduced == reduced)
      runs[count - 1].dim *= x.dims[d];
    else
      runs[count++] = {x.dims[d], 0, reduced};
  }
  int64_t stride = 1;
  for (int r = count - 1; r >= 0; r--) {
    runs[r].stride = stride;
    stride *= runs[r].dim;
  }
  Shape shape;
  if (count == 0) return shape;
  shape.last = runs[count - 1].dim;
  shape.lastReduced = runs[count - 1].reduced;
  for (int r = 0; r < count - 1; r++) {
    IndexSet& set = runs[r].reduced ? shape.reduced : shape.kept;
    set.dims[set.rank] = runs[r].dim;
    set.strides[set.rank++] = runs[r].stride;
    set.count *= runs[r].dim;
  }
  return shape;
}

Split splitReduction(const OpCall& call) {
  Split split;
  split.shape = mergeShape(call.in[0], call.as<ReduceParams>().axes);
  const Shape& shape = split.shape;
  const int64_t rows = shape.reduced.count;
  if (shape.lastReduced) {
    split.shortRows =
        rows == 1 && shape.kept.rank == 1 && shape.last > 0 && shape.last <= kShortRow;
    split.segmentsPerRow = (shape.last + kChunkElements - 1) / kChunkElements;
    split.segments = rows * split.segmentsPerRow;
    split.perChunk =
        shape.last > 0 && shape.last < kChunkElements ? kChunkElements / shape.last : 1;
  } else {
    split.columns = shape.last;
    split.segments = rows;
    split.folded = shape.last <= kFewColumns && shape.reduced.rank == 1 &&
                   shape.reduced.strides[0] == shape.last;
    const int64_t least = split.folded ? kFoldedRows : 64;  // amortises the partial row
    split.perChunk = shape.last > 0 ? kChunkElements / shape.last : 1;
    if (split.perChunk < least) split.perChunk = least;
    split.perChunk = (split.perChunk + kFoldedRows - 1) / kFoldedRows * kFoldedRows;
  }
  if (!split.folded && split.perChunk > kChunkSegments) split.perChunk = kChunkSegments;
  split.chunks = (split.segments + split.perChunk - 1) / split.perChunk;
  if (split.chunks < 1) split.chunks = 1;
  return split;
}

size_t partialBytes(const OpCall& call) {
  const Split split = splitReduction(call);
  if (split.chunks <= 1) return 0;
  return size_t(split.shape.kept.count) * size_t(split.chunks) * size_t(split.columns) *
         sizeof(float);
}

}  // namespace figment::reduce
