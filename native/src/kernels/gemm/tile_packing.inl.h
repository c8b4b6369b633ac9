// The order in which matrix tiles read bf16 factors, and the copies that bring them into it. A
// block is kBlock rows or columns: two tiles for each kTileDepth of K, of 16 lines of 64 bytes.
//   rows     line m of a tile is A[m][k … k + 31]
//   columns  line p of a tile is B[k + 2p][n], B[k + 2p + 1][n] for n = 0 … 15
// So each tile is a matrix of 16×16 pairs of neighbours along K, and the lines of one factor are
// the columns of the other: what lies the other way round in memory is brought into lines and then
// transposed by pairs. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/pack.inl.h"

namespace figment::FIGMENT_ISA::tiles {

using gemm::Carver;
using gemm::ceilDiv;
using gemm::larger;
using gemm::smaller;

constexpr int64_t kSide = 16;       ///< rows of a tile, and f32 columns
constexpr int64_t kTileDepth = 32;  ///< of K in one dot, and numbers of a line
constexpr int64_t kBlock = 2 * kSide;
/// bf16 numbers of a tile, and of a packed pair: kBlock rows or columns, kTileDepth deep.
constexpr int64_t kTile = kSide * kTileDepth, kPair = 2 * kTile;
constexpr int64_t kRowBytes = 64;

/// Where element (row, k) of kBlock packed rows lies: two tiles as they lie in memory for each
/// block of K.
constexpr int64_t rowPlace(int64_t row, int64_t k) {
  return k / kTileDepth * kPair + row * kTileDepth + k % kTileDepth;
}
/// Where element (k, column) of kBlock packed columns lies: two tiles whose rows hold pairs of
/// neighbours along K.
constexpr int64_t columnPlace(int64_t column, int64_t k) {
  return k / kTileDepth * kPair + column / kSide * kTile + k % kTileDepth / 2 * kTileDepth +
         column % kSide * 2 + k % 2;
}
/// bf16 numbers of a kBlock of packed rows or columns.
constexpr int64_t packedSize(int64_t depth) { return ceilDiv(depth, kTileDepth) * kPair; }

FIGMENT_INLINE void zeroPacked(uint16_t* to, int64_t count) {
  __builtin_memset(to, 0, size_t(count) * sizeof *to);
}

/// How many of the kLanes lanes from number `first` on lie below `count`.
FIGMENT_INLINE int lanesBelow(int64_t count, int64_t first) {
  return int(larger(0, smaller(kLanes, count - first)));
}

FIGMENT_INLINE void copyLine(uint16_t* to, const uint16_t* from) {
  for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
    I32 pairs;
    __builtin_memcpy(&pairs, from + i, sizeof pairs);
    __builtin_memcpy(to + i, &pairs, sizeof pairs);
  }
}
FIGMENT_INLINE void zeroLine(uint16_t* to) {
  const I32 zero = I32::zero();
  for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) __builtin_memcpy(to + i, &zero, sizeof zero);
}
/// Copies the first `count` numbers of a line; zeros fill it.
FIGMENT_INLINE void copyLine(uint16_t* to, const uint16_t* from, int64_t count) {
  for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes) {
    const I32 pairs = I32::loadPairs(from + i, int(larger(0, smaller(2 * kLanes, count - i))));
    __builtin_memcpy(to + i, &pairs, sizeof pairs);
  }
}

/// One line of columns, from two neighbours along K of 16 columns.
FIGMENT_INLINE void interleaveLine(uint16_t* to, const uint16_t* even, const uint16_t* odd) {
  for (int64_t i = 0; i < kSide; i += kLanes) {
    const I32 pairs = I32::loadU16(even + i) | shl(I32::loadU16(odd + i), 16);
    __builtin_memcpy(to + 2 * i, &pairs, sizeof pairs);
  }
}
/// The same of `count` (0 .. 16) columns; zeros fill the line.
FIGMENT_INLINE void interleaveLine(uint16_t* to, const uint16_t* even, const uint16_t* odd,
                                   int64_t count) {
  if (count == kSide) return interleaveLine(to, even, odd);
  for (int64_t i = 0; i < kSide; i += kLanes) {
    const int lanes = lanesBelow(count, i);
    const I32 pairs =
        I32::loadU16Partial(even + i, lanes) | shl(I32::loadU16Partial(odd + i, lanes), 16);
    __builtin_memcpy(to + 2 * i, &pairs, sizeof pairs);
  }
}

/// to[j][i] = from[i][j] for 16×16 words of 32 bits (pairs of bf16 numbers, or f32), with lines
/// `toStep` and `fromStep` bytes apart.
inline void transposeWords(void* to, int64_t toStep, const void* from, int64_t fromStep) {
  constexpr int64_t kQuad = 4, kWord = 4;  // lanes that interleave with each other; bytes of a word
  for (int64_t j = 0; j < kSide; j += kQuad) {
    for (int64_t i = 0; i < kSide; i += kLanes) {
      // Quad q of these vectors is of the rows i + 4q, and one, two and three below it.
      const std::byte* at = static_cast<const std::byte*>(from) + i * fromStep + j * kWord;
      const I32 a = I32::loadQuads(at, kQuad * fromStep);
      const I32 b = I32::loadQuads(at + fromStep, kQuad * fromStep);
      const I32 c = I32::loadQuads(at + 2 * fromStep, kQuad * fromStep);
      const I32 d = I32::loadQuads(at + 3 * fromStep, kQuad * fromStep);
      const I32 acLow = interleaveLow(a, c), acHigh = interleaveHigh(a, c);
      const I32 bdLow = interleaveLow(b, d), bdHigh = interleaveHigh(b, d);
      const I32 lines[kQuad] = {interleaveLow(acLow, bdLow), interleaveHigh(acLow, bdLow),
                                interleaveLow(acHigh, bdHigh), interleaveHigh(acHigh, bdHigh)};
      std::byte* line = static_cast<std::byte*>(to) + j * toStep + i * kWord;
      for (const I32& words : lines) {
        __builtin_memcpy(line, &words, sizeof words);
        line += toStep;
      }
    }
  }
}

/// One tile of columns, from `count` (0 .. 16) columns whose `depth` (0 .. 32) numbers are
/// contiguous, `columnStep` apart; zeros fill the tile.
inline void transposeTile(uint16_t* to, const uint16_t* from, int64_t columnStep, int64_t count,
                          int64_t depth) {
  constexpr int64_t kNumber = sizeof(uint16_t);
  if (count == kSide && depth == kTileDepth)
    return transposeWords(to, kRowBytes, from, columnStep * kNumber);
  alignas(kRowBytes) uint16_t lines[kTile];
  for (int64_t i = 0; i < kSide; i++) {
    if (i < count)
      copyLine(lines + i * kTileDepth, from + i * columnStep, depth);
    else
      zeroLine(lines + i * kTileDepth);
  }
  transposeWords(to, kRowBytes, lines, kRowBytes);
}

/// One tile of columns, from `depth` (0 .. 32) rows of `count` (0 .. 16) contiguous columns, `step`
/// apart; zeros fill the tile.
inline void interleaveTile(uint16_t* to, const uint16_t* from, int64_t step, int64_t count,
                           int64_t depth) {
  constexpr uint16_t kZeros[kSide] = {};
  int64_t k = 0;
  for (; k + 2 <= depth; k += 2, to += kTileDepth)
    interleaveLine(to, from + k * step, from + (k + 1) * step, count);
  if (k < depth) {
    interleaveLine(to, from + k * step, kZeros, count);
    k += 2;
    to += kTileDepth;
  }
  for (; k < kTileDepth; k += 2, to += kTileDepth) zeroLine(to);
}

/// Calls found(tile, side, k, count, deep) for the tiles of a block of up to kBlock rows or columns
/// `depth` deep: the tile begins at number `tile` of the block and holds `count` (0 .. 16) rows or
/// columns from number `side` on, at the `deep` (up to 32) numbers of K from `k` on.
template <class F>
FIGMENT_INLINE void forTiles(int64_t sides, int64_t depth, F&& found) {
  for (int64_t k = 0; k < depth; k += kTileDepth)
    for (int64_t side = 0; side < kBlock; side += kSide)
      found(k / kTileDepth * kPair + side / kSide * kTile, side, k,
            larger(0, smaller(kSide, sides - side)), smaller(kTileDepth, depth - k));
}

/// Packs up to kBlock rows, `rowStep` apart, whose numbers are contiguous; zeros fill the block.
inline void copyRows(uint16_t* to, const uint16_t* from, int64_t rowStep, int64_t rows,
                     int64_t depth) {
  const int64_t whole = depth / kTileDepth * kTileDepth;
  for (int64_t row = 0; row < rows; row++, from += rowStep) {
    for (int64_t k = 0; k < whole; k += kTileDepth) copyLine(to + rowPlace(row, k), from + k);
    if (whole < depth) copyLine(to + rowPlace(row, whole), from + whole, depth - whole);
  }
  for (int64_t row = rows; row < kBlock; row++)
    for (int64_t k = 0; k < depth; k += kTileDepth) zeroLine(to + rowPlace(row, k));
}

/// Packs up to kBlock rows that are neighbours in memory, with numbers `step` apart; zeros fill the
/// block.
inline void transposeRows(uint16_t* to, const uint16_t* from, int64_t step, int64_t rows,
                          int64_t depth) {
  alignas(kRowBytes) uint16_t lines[kTile];
  forTiles(rows, depth, [&](int64_t tile, int64_t row, int64_t k, int64_t count, int64_t deep) {
    interleaveTile(lines, from + k * step + row, step, count, deep);
    transposeWords(to + tile, kRowBytes, lines, kRowBytes);
  });
}

/// Packs up to kBlock columns that are neighbours in memory, with numbers `step` apart; zeros fill
/// the block.
inline void interleaveColumns(uint16_t* to, const uint16_t* from, int64_t step, int64_t columns,
                              int64_t depth) {
  forTiles(columns, depth,
           [&](int64_t tile, int64_t column, int64_t k, int64_t count, int64_t deep) {
             interleaveTile(to + tile, from + k * step + column, step, count, deep);
           });
}

/// Packs up to kBlock columns, `columnStep` apart, whose numbers are contiguous; zeros fill the
/// block.
inline void transposeColumns(uint16_t* to, const uint16_t* from, int64_t columnStep,
                             int64_t columns, int64_t depth) {
  forTiles(columns, depth,
           [&](int64_t tile, int64_t column, int64_t k, int64_t count, int64_t deep) {
             transposeTile(to + tile, from + column * columnStep + k, columnStep, count, deep);
           });
}

}  // namespace figment::FIGMENT_ISA::tiles
