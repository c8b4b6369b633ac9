// Products on matrix tiles, block by block of kBlock × kBlock sums. Sums of a block stay in tiles
// over a whole cut of K and leave them for memory that the first-level cache holds, when the first
// factors of the next block are loaded: loads behind the stores may wait for the sums, as their
// addresses have the same last 12 bits as some of the stores'. What is to be done to them there
// (adding cuts, bias, activation, rounding) runs on the vector units beside the multiplication of
// the next block, a few rows for each step along K. Blocks of one kBlock of columns follow each
// other, so that a cut of those columns stays in the first-level cache while rows stream from the
// second. Include only from files compiled for one instruction set.
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

/// Lines of memory to bring into the second-level cache while a block is summed: some for each step
/// along K.
struct Ahead {
  const uint16_t* data = nullptr;
  int64_t lines = 0;  ///< of a step
  int64_t lower = 0;  ///< numbers from a line to the next one of a step
  int64_t next = 0;   ///< numbers from one step to the next
};
FIGMENT_INLINE void fetch(const uint16_t* line) {
  constexpr int kSecondLevel = 2;
  __builtin_prefetch(line, 0, kSecondLevel);
}

/// Stores the sums of a block that the tiles hold.
template <class Tiles>
FIGMENT_INLINE void storeSums(Tiles& tiles, float* sums) {
  constexpr int64_t kStep = kBlock * int64_t(sizeof(float));
  tiles.template store<0>(sums, kStep);
  tiles.template store<1>(sums + kSide, kStep);
  tiles.template store<2>(sums + kSide * kBlock, kStep);
  tiles.template store<3>(sums + kSide * kBlock + kSide, kStep);
}
/// Takes up sums that were stored.
template <class Tiles>
FIGMENT_INLINE void loadSums(Tiles& tiles, const float* sums) {
  constexpr int64_t kStep = kBlock * int64_t(sizeof(float));
  tiles.template load<0>(sums, kStep);
  tiles.template load<1>(sums + kSide, kStep);
  tiles.template load<2>(sums + kSide * kBlock, kStep);
  tiles.template load<3>(sums + kSide * kBlock + kSide, kStep);
}
template <class Tiles>
FIGMENT_INLINE void zeroSums(Tiles& tiles) {
  tiles.template zero<0>();
  tiles.template zero<1>();
  tiles.template zero<2>();
  tiles.template zero<3>();
}

/// The block before the one that is summed: what is left to do to it.
template <class Finish>
class Beside {
 public:
  explicit Beside(const Finish& finish) : finish_(finish) {}
  /// Takes its sums out of the tiles.
  template <class Tiles>
  FIGMENT_INLINE void store(Tiles& tiles) {
    if (held_) storeSums(tiles, held_);
    held_ = nullptr;
  }
  /// Begins the sums of the next block, with those at `from` if they are given. Sums that are to go
  /// where they would come from stay in the tiles.
  template <class Tiles>
  FIGMENT_INLINE void begin(Tiles& tiles, const float* from) {
    if (from && from == held_) return;
    store(tiles);
    if (from)
      loadSums(tiles, from);
    else
      zeroSums(tiles);
  }
  /// The first steps of a block leave the stores of the one before time.
  static constexpr int64_t kFirstStep = 2;
  /// How many rows are to be finished at each of `steps` steps.
  static int64_t rowsOf(int64_t steps) { return ceilDiv(kBlock, larger(1, steps - kFirstStep)); }
  /// Finishes some of its rows at a step.
  FIGMENT_INLINE void step(int64_t step, int64_t count) {
    if (step >= kFirstStep) finishRows(count);
  }
  FIGMENT_INLINE void finishRows(int64_t count) {
    const int64_t last = smaller(row_ + count, end_);
    if (row_ >= last) return;
    finish_(row_, last, column_, numbers_);
    numbers_ += (last - row_) * kBlock;
    row_ = last;
  }
  void next(int64_t row, int64_t end, int64_t column, float* numbers, bool inTiles) {
    row_ = row;
    end_ = end;
    column_ = column;
    numbers_ = numbers;
    held_ = inTiles ? numbers : nullptr;
  }

 private:
  Finish finish_;
  int64_t row_ = 0, end_ = 0, column_ = 0;
  float* numbers_ = nullptr;
  float* held_ = nullptr;
};

template <int kTo, bool kStream, class Tiles>
FIGMENT_INLINE void loadColumns(Tiles& tiles, const uint16_t* columns) {
  if constexpr (kStream)
    tiles.template stream<kTo>(columns, kRowBytes);
  else
    tiles.template load<kTo>(columns, kRowBytes);
}

/// Sums `blocks` steps along K of kBlock rows by kBlock packed columns into tiles: the upper left
/// one, and the other ones that are asked for. Columns may stream past the first-level cache. Adds
/// to the sums at `from`, if they are given, and does all that is left to do to the block before.
/// What the loop needs is in registers: a load from memory may wait for the stores of sums.
template <bool kLower, bool kRight, bool kStream, class Tiles, class Finish>
[[gnu::noinline]] void sumTiles(Tiles& tiles, const RowTiles& rows, const uint16_t* columns,
                                int64_t blocks, const float* from, const Ahead& ahead,
                                Beside<Finish>& beside) {
  const int64_t rowsBeside = beside.rowsOf(blocks), lower = rows.lower, next = rows.next;
  const int64_t lineBytes = rows.lineBytes;
  const uint16_t *a = rows.data, *b = columns, *fetched = ahead.data;
  const int64_t lines = ahead.lines, lineStep = ahead.lower, fetchStep = ahead.next;
  for (int64_t block = 0; block < blocks; block++, a += next, b += kPair) {
    loadColumns<6, kStream>(tiles, b);
    tiles.template load<4>(a, lineBytes);
    if constexpr (kRight) loadColumns<7, kStream>(tiles, b + kTile);
    if constexpr (kLower) tiles.template load<5>(a + lower, lineBytes);
    if (block == 0) beside.begin(tiles, from);
    tiles.template dot<0, 4, 6>();
    if constexpr (kRight) tiles.template dot<1, 4, 7>();
    beside.step(block, rowsBeside);
    for (int64_t i = 0; i < lines; i++) fetch(fetched + i * lineStep);
    fetched += fetchStep;
    if constexpr (kLower) tiles.template dot<2, 5, 6>();
    if constexpr (kLower && kRight) tiles.template dot<3, 5, 7>();
  }
  beside.finishRows(kBlock);
}

/// The same on tiles that add all steps by themselves.
template <bool kLower, bool kRight, class Tiles, class Finish>
[[gnu::noinline]] void sumSteps(Tiles& tiles, const RowTiles& rows, const uint16_t* columns,
                                int64_t blocks, const float* from, const Ahead& ahead,
                                Beside<Finish>& beside) {
  constexpr int64_t kBytes = sizeof(uint16_t), kParts = 4;
  const auto offset = [next = rows.next * kBytes](int64_t step) { return step * next; };
  int64_t part = 0;
  const auto finish = [&]() __attribute__((always_inline)) {
    const int64_t end = blocks * (part + 1) / kParts;
    for (int64_t block = blocks * part / kParts; block < end; block++)
      for (int64_t i = 0; i < ahead.lines; i++)
        fetch(ahead.data + block * ahead.next + i * ahead.lower);
    part++;
    beside.finishRows(kBlock / kParts);
  };
  beside.begin(tiles, from);
  tiles.template addSteps<0, 1 + kRight>(rows.data, rows.lineBytes, columns, kPair * kBytes, blocks,
                                         offset, finish);
  if constexpr (kLower)
    tiles.template addSteps<2, 1 + kRight>(rows.data + rows.lower, rows.lineBytes, columns,
                                           kPair * kBytes, blocks, offset, finish);
  beside.finishRows(kBlock);
}

/// The same for as many of the rows and columns as are of use.
template <bool kStream, class Tiles, class Finish>
inline void sumBlock(Tiles& tiles, const RowTiles& rows, int64_t rowCount, const uint16_t* columns,
                     int64_t columnCount, int64_t blocks, const float* from, const Ahead& ahead,
                     Beside<Finish>& beside) {
  const auto sum = [&]<bool kLower, bool kRight>() __attribute__((always_inline)) {
    if constexpr (Tiles::kAddsSteps)
      sumSteps<kLower, kRight>(tiles, rows, columns, blocks, from, ahead, beside);
    else
      sumTiles<kLower, kRight, kStream>(tiles, rows, columns, blocks, from, ahead, beside);
  };
  if (rowCount > kSide && columnCount > kSide)
    sum.template operator()<true, true>();
  else if (rowCount > kSide)
    sum.template operator()<true, false>();
  else if (columnCount > kSide)
    sum.template operator()<false, true>();
  else
    sum.template operator()<false, false>();
}

/// Sums blocks by sum(row, column, sums, beside), where row and column count from the first of
/// `rows` × `columns`, and calls finish(row, end, column, numbers) for some rows after others of
/// each block. `sum` answers whether the tiles hold the sums; else it has stored them, after those
/// of the block before. `sums` has room for two blocks.
template <class Tiles, class Sum, class Finish>
inline void forBlocks(Tiles& tiles, int64_t rows, int64_t columns, float* sums, Sum&& sum,
                      Finish&& finish) {
  Beside<std::remove_reference_t<Finish>> beside(finish);
  bool second = false;
  for (int64_t j = 0; j < columns; j += kBlock) {
    for (int64_t i = 0; i < rows; i += kBlock, second = !second) {
      float* mine = second ? sums + kBlockSums : sums;
      const bool inTiles = sum(i, j, mine, beside);
      beside.next(i, smaller(i + kBlock, rows), j, mine, inTiles);
    }
  }
  beside.store(tiles);
  beside.finishRows(kBlock);
}

/// Into how many units of work one side of a product is divided: as few as `most` rows or columns
/// to a unit allow, but as many for each thread as for the others, `fewest` rows or columns to a
/// unit permitting.
inline int64_t unitsOf(int64_t side, int64_t threads, int64_t most, int64_t fewest) {
  const int64_t needed = ceilDiv(side, most);
  return larger(needed, smaller(ceilDiv(needed, threads) * threads, side / fewest));
}

/// How a product is divided into units of work. What a unit sums does not depend on it.
struct UnitPlan {
  int64_t rows, columns, rowUnits, columnUnits;

  UnitPlan(int64_t m, int64_t n, int64_t unitsAlongRows, int64_t unitsAlongColumns)
      : rows(ceilDiv(ceilDiv(m, unitsAlongRows), kBlock) * kBlock),
        columns(ceilDiv(ceilDiv(n, unitsAlongColumns), kBlock) * kBlock),
        rowUnits(ceilDiv(m, rows)),
        columnUnits(ceilDiv(n, columns)) {}
  /// Divides columns first, and rows where these are too few.
  static UnitPlan byColumns(int64_t m, int64_t n, int64_t threads, int64_t mostRows,
                            int64_t mostColumns) {
    constexpr int64_t kFewestRows = 64, kFewestColumns = 256;
    const int64_t across = unitsOf(n, threads, mostColumns, kFewestColumns);
    return {m, n, unitsOf(m, ceilDiv(threads, across), mostRows, kFewestRows), across};
  }
  /// Divides rows first, and columns where these are too few.
  static UnitPlan byRows(int64_t m, int64_t n, int64_t threads, int64_t mostRows,
                         int64_t mostColumns) {
    constexpr int64_t kFewestRows = 64, kFewestColumns = 64;
    const int64_t along = unitsOf(m, threads, mostRows, kFewestRows);
    return {m, n, along, unitsOf(n, ceilDiv(threads, along), mostColumns, kFewestColumns)};
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
