// The orders in which matrix tiles read the positions of a head, packed by units of 32: as rows or
// columns that are d deep (the factors of scores), and as columns or rows along d that are 32
// positions deep (the factors of sums over positions). Which numbers share a pair is free as long
// as both factors agree: along positions number i of a unit goes with number 16 + i, so that pairs
// are made of whole vectors; across them neighbours of bf16 go together, numbers of parts like
// positions. Include only from files compiled for one instruction set.
#pragma once

#include "tile_remainder.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Positions of a unit, which is a kBlock of rows or columns and one step of K.
constexpr int64_t kUnit = kBlock;
static_assert(kUnit == kTileDepth);

/// One head of a [b, s, h, d] operand of bf16, from some position on.
struct HeadRows {
  const uint16_t* data;
  int64_t stride;  ///< between positions
  const uint16_t* row(int64_t position) const { return data + position * stride; }
};

/// A line of pairs of position i and i + 16 of a unit of `positions`: `count` numbers from number
/// `first` of d on.
FIGMENT_INLINE void pairLine(uint16_t* to, const HeadRows& from, int64_t i, int64_t positions,
                             int64_t first, int64_t count) {
  constexpr uint16_t kZeros[kSide] = {};
  interleaveLine(to, i < positions ? from.row(i) + first : kZeros,
                 i + kSide < positions ? from.row(i + kSide) + first : kZeros, count);
}

/// Calls line(tile, i, first, count) for each line of the tiles of a unit along d: it is line i of
/// the tile at number `tile`, of `count` (0 .. 16) numbers of d from `first` on.
template <class F>
FIGMENT_INLINE void forTilesAlong(int64_t d, F&& found) {
  for (int64_t e = 0; e < d; e += kBlock)
    for (int64_t side = 0; side < kBlock; side += kSide)
      found(e * kTileDepth + side / kSide * kTile, e + side,
            larger(0, smaller(kSide, d - e - side)));
}

/// Packs the d numbers of a unit of `positions` as columns that run along positions: a kPair for
/// each kBlock of columns; zeros fill it.
inline void packColumnsAlong(uint16_t* to, const HeadRows& from, int64_t positions, int64_t d) {
  forTilesAlong(d, [&](int64_t tile, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kSide; i++)
      pairLine(to + tile + i * kTileDepth, from, i, positions, first, count);
  });
}

/// The same as rows.
inline void packRowsAlong(uint16_t* to, const HeadRows& from, int64_t positions, int64_t d) {
  alignas(kRowBytes) uint16_t lines[kTile];
  forTilesAlong(d, [&](int64_t tile, int64_t first, int64_t count) {
    for (int64_t i = 0; i < kSide; i++)
      pairLine(lines + i * kTileDepth, from, i, positions, first, count);
    transposeWords(to + tile, kRowBytes, lines, kRowBytes);
  });
}

/// An order packs rows of bf16, or, in parts, a block of f32 or the block turned.
template <bool kAsRows, bool kAlong>
struct Order {
  uint16_t* to;
  static constexpr bool kTurned = kAsRows == kAlong;

  FIGMENT_INLINE void pack(const HeadRows& from, int64_t positions, int64_t d) const {
    if constexpr (kAlong)
      kAsRows ? packRowsAlong(to, from, positions, d) : packColumnsAlong(to, from, positions, d);
    else
      kAsRows ? copyRows(to, from.data, from.stride, positions, d)
              : transposeColumns(to, from.data, from.stride, positions, d);
  }
  /// The block of d from number e on, of which there are `numbers`.
  template <int kParts>
  FIGMENT_INLINE void split(int64_t e, int64_t numbers, int64_t partStep,
                            const FloatBlock& from) const {
    uint16_t* at = to + e / kBlock * kPair;
    if (!kAlong && Remainder::takes(e, numbers)) {
      kAsRows ? Remainder::splitRows(at, partStep, from)
              : Remainder::splitColumns(at, partStep, from);
      return;
    }
    kAsRows ? splitRows<kParts>(at, partStep, from) : splitColumns<kParts>(at, partStep, from);
  }
};
using Rows = Order<true, false>;
using Columns = Order<false, false>;
using RowsAlong = Order<true, true>;
using ColumnsAlong = Order<false, true>;

}  // namespace figment::FIGMENT_ISA::tiles
