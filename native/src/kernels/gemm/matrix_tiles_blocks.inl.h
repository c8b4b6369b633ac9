// Products on matrix tiles, block by block of kBlock × kBlock sums. Sums of a block stay in tiles
// over a whole cut of K and leave them for memory that the first-level cache holds; what is to be
// done to them there (adding cuts, bias, activation, rounding) runs on the vector units beside the
// multiplication of the next block, a few rows for each step along K. Blocks of one kBlock of
// columns follow each other, so that a cut of those columns stays in the first-level cache while
// rows stream from the second. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

constexpr int64_t kBlockSums = kBlock * kBlock;

/// kBlock rows as tiles load them: packed, or in memory where they are contiguous along K.
struct RowTiles {
  const uint16_t* data;
  int64_t lineBytes = kRowBytes;  ///< from one row to the next
  int64_t lower = kTile;          ///< numbers from the first tile to that of the rows below it
  int64_t next = kPair;           ///< numbers from one step along K to the next

  static RowTiles packed(const uint16_t* data) { return {data}; }
  static RowTiles inPlace(const uint16_t* data, int64_t rowStep) {
    return {data, rowStep * int64_t(sizeof *data), rowStep * kSide, kTileDepth};
  }
};

/// Sums `blocks` steps along K of kBlock rows by kBlock packed columns: the upper left tile, and
/// the other ones that are asked for. Calls beside(count) at each step, which may take that many
/// rows of another block further.
template <bool kLower, bool kRight, class Tiles, class Beside>
inline void sumTiles(Tiles& tiles, const RowTiles& rows, const uint16_t* columns, int64_t blocks,
                     float* sums, Beside&& beside) {
  const int64_t rowsBeside = ceilDiv(kBlock, blocks);
  const uint16_t *a = rows.data, *b = columns;
  tiles.template zero<0>();
  if constexpr (kRight) tiles.template zero<1>();
  if constexpr (kLower) tiles.template zero<2>();
  if constexpr (kLower && kRight) tiles.template zero<3>();
  for (int64_t block = 0; block < blocks; block++) {
    tiles.template load<6>(b, kRowBytes);
    tiles.template load<4>(a, rows.lineBytes);
    if constexpr (kRight) tiles.template load<7>(b + kTile, kRowBytes);
    tiles.template dot<0, 4, 6>();
    if constexpr (kRight) tiles.template dot<1, 4, 7>();
    if constexpr (kLower) tiles.template load<5>(a + rows.lower, rows.lineBytes);
    beside(rowsBeside);
    if constexpr (kLower) tiles.template dot<2, 5, 6>();
    if constexpr (kLower && kRight) tiles.template dot<3, 5, 7>();
    a += rows.next;
    b += kPair;
  }
  constexpr int64_t kStep = kBlock * int64_t(sizeof(float));
  tiles.template store<0>(sums, kStep);
  if constexpr (kRight) tiles.template store<1>(sums + kSide, kStep);
  if constexpr (kLower) tiles.template store<2>(sums + kSide * kBlock, kStep);
  if constexpr (kLower && kRight) tiles.template store<3>(sums + kSide * kBlock + kSide, kStep);
}

/// The same for as many of the rows and columns as are of use.
template <class Tiles, class Beside>
inline void sumBlock(Tiles& tiles, const RowTiles& rows, int64_t rowCount, const uint16_t* columns,
                     int64_t columnCount, int64_t blocks, float* sums, Beside&& beside) {
  if (rowCount > kSide && columnCount > kSide)
    sumTiles<true, true>(tiles, rows, columns, blocks, sums, beside);
  else if (rowCount > kSide)
    sumTiles<true, false>(tiles, rows, columns, blocks, sums, beside);
  else if (columnCount > kSide)
    sumTiles<false, true>(tiles, rows, columns, blocks, sums, beside);
  else
    sumTiles<false, false>(tiles, rows, columns, blocks, sums, beside);
}

/// Sums blocks by sum(row, column, sums, beside), where row and column count from the first of
/// `rows` × `columns`, and calls finish(row, column, numbers) for each row of each block, with
/// beside() or after it. `sums` has room for two blocks.
template <class Sum, class Finish>
inline void forBlocks(int64_t rows, int64_t columns, float* sums, Sum&& sum, Finish&& finish) {
  int64_t row = 0, end = 0, column = 0;
  float* numbers = nullptr;
  const auto finishRows = [&](int64_t count) {
    for (const int64_t last = smaller(row + count, end); row < last; row++, numbers += kBlock)
      finish(row, column, numbers);
  };
  bool second = false;
  for (int64_t j = 0; j < columns; j += kBlock) {
    for (int64_t i = 0; i < rows; i += kBlock) {
      float* mine = second ? sums + kBlockSums : sums;
      sum(i, j, mine, finishRows);
      finishRows(kBlock);
      row = i;
      end = smaller(i + kBlock, rows);
      column = j;
      numbers = mine;
      second = !second;
    }
  }
  finishRows(kBlock);
}

/// How a product is divided into units of work: in as large ones as are allowed, but into several
/// for each of many threads. What a unit sums does not depend on it.
struct UnitPlan {
  int64_t rows, columns, rowUnits, columnUnits;

  UnitPlan(int64_t m, int64_t n, int64_t batch, int threads, int64_t mostRows, int64_t mostColumns)
      : rows(smaller(ceilDiv(m, kBlock) * kBlock, mostRows)),
        columns(smaller(ceilDiv(n, kBlock) * kBlock, mostColumns)) {
    constexpr int64_t kUnitsPerThread = 4, kFewestRows = 64, kFewestColumns = 128;
    for (;;) {
      rowUnits = ceilDiv(m, rows);
      columnUnits = ceilDiv(n, columns);
      if (threads == 1 || batch * rowUnits * columnUnits >= threads * kUnitsPerThread) return;
      if (columns > kFewestColumns && columns >= rows)
        columns = ceilDiv(columns / 2, kBlock) * kBlock;
      else if (rows > kFewestRows)
        rows = ceilDiv(rows / 2, kBlock) * kBlock;
      else
        return;
    }
  }
};

/// The unit of a number: its product in the batch, rows and columns.
struct UnitPart {
  int64_t batch, row, rows, column, columns;
  UnitPart(const UnitPlan& plan, int64_t index, int64_t m, int64_t n)
      : batch(index / plan.columnUnits / plan.rowUnits),
        row(index / plan.columnUnits % plan.rowUnits * plan.rows),
        rows(smaller(plan.rows, m - row)),
        column(index % plan.columnUnits * plan.columns),
        columns(smaller(plan.columns, n - column)) {}
};

}  // namespace figment::FIGMENT_ISA::tiles
