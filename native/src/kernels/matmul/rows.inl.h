// Which rows and columns of a product on matrix tiles lie together. Include only from files
// compiled for one instruction set.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::tiles {

/// One B for all products of a batch: then the batch is just more rows.
inline bool sharesB(const MatmulParams& p) {
  return !p.transA && p.batchStrideB == 0 && p.batchStrideA != 0;
}
inline int64_t rowsTogether(const MatmulParams& p) { return sharesB(p) ? p.batch * p.m : p.m; }

/// Columns as panels hold them: where they are gated, kSide of one half and kSide of the other,
/// with zeros in the last panel for those that there are not.
inline int64_t packedColumns(const MatmulParams& p) {
  return p.activation == kGeglu ? ceilDiv(p.n / 2, kSide) * kBlock : p.n;
}
/// The columns of B that a tile of a panel holds.
struct TileColumns {
  int64_t first, count;
  TileColumns(const MatmulParams& p, int64_t panel, int64_t tile) {
    const bool gated = p.activation == kGeglu;
    const int64_t half = p.n / 2, column = gated ? panel * kSide : panel * kBlock + tile * kSide;
    first = gated ? tile * half + column : column;
    count = larger(0, smaller(kSide, (gated ? half : p.n) - column));
  }
};
/// Widens what belongs to `columns` columns of panels, from one where a panel begins on.
inline void widenColumns(const ColumnFloats& to, const MatmulParams& p, const Epilogue& epilogue,
                         int64_t column, int64_t columns) {
  if (p.activation != kGeglu) return epilogue.widen(to, column, columns);
  for (int64_t i = 0; i < columns && to.bias; i += kSide) {
    const TileColumns own(p, (column + i) / kBlock, i % kBlock / kSide);
    gemm::zeroFloats(to.bias + i, kSide);
    epilogue.widen(to + i, own.first, own.count);
  }
}
/// Where results of a unit go, whose first row and column of panels these are; `floats` are the
/// unit's.
inline RowResults resultsOf(const OpCall& call, int64_t row, int64_t column, int64_t columns,
                            const ColumnFloats& floats) {
  const auto& p = call.as<MatmulParams>();
  const int64_t all = resultColumns(p.n, p.activation), first = resultColumns(column, p.activation);
  const int64_t own = p.activation == kGeglu ? smaller(columns / 2, all - first) : columns;
  return {Results::of(call.out[0]) + (row * all + first), all, own, floats, p.activation,
          Epilogue::of<MatmulParams>(call).addend};
}

}  // namespace figment::FIGMENT_ISA::tiles
