// Units of a product of f32 factors that split.inl.h has packed. With x = x₀ + x₁ + x₂ and w
// likewise,
//   x·w ≈ x₂w₀ + x₁w₀ + x₁w₁ + x₀w₁ + x₀w₂, then x₀w₀,
// six of nine products: those left out are below 2^-24 of a term; at precision "fast", x₁w₀ + x₀w₀
// + x₀w₁ of two parts, which leaves out what is below 2^-16. For each block of 32×32 sums and
// cut of K, the small products of the whole cut are summed first, and the large ones on top of
// them, so that a sum is rounded at its own size once for each 32 terms; cuts are added in f32.
// Blocks of a panel that could not be split are summed by fused multiply-adds. Include only from
// files compiled for one instruction set.
#pragma once

#include <utility>

#include "kernels/fallbacks.h"
#include "kernels/gemm/matrix_tiles_blocks.inl.h"
#include "kernels/gemm/split.inl.h"

namespace figment::FIGMENT_ISA::split {

/// Splitting both factors takes as long as this many rows or columns of a product gain on the
/// tiles: as measured, 96×96, 64×192 or 56×1024 sums of any depth.
constexpr int64_t kLeastSide = 48;

/// Whether a product on tiles repays the splitting of its factors.
inline bool repays(int64_t rows, int64_t columns, int64_t depth, int64_t leastDepth) {
  return depth >= leastDepth &&
         double(rows) * double(columns) >= double(kLeastSide) * (double(rows) + double(columns));
}

/// Whether a factor is not bf16 already.
inline bool needsSplitting(const OpCall& call) {
  return call.in[0].format != Format::bf16 || call.in[1].format != Format::bf16;
}

/// Lines of memory to bring into the second-level cache while a block is summed.
struct Ahead {
  const uint16_t* data = nullptr;
  int64_t lines = 0;
};

/// The products of factors of so many parts, and what a loop over them does beside.
template <int kRows, int kColumns, int kMost, class Tiles, class Finish>
struct PartsProduct {
  static constexpr Chain kChain{{kRows, kColumns, kMost}};
  Tiles& tiles;
  tiles::Beside<Finish> beside;
  int64_t rowsBeside, lines;

  /// One term at one step of K, whose tiles of the first parts are `a` and `b`. Rows stream past
  /// the first-level cache, from which they would displace the columns that they meet. What the
  /// loop needs is handed on by value, hence in registers: a load from memory may wait for the
  /// stores of sums.
  template <int kTerm, int kFirst>
  FIGMENT_INLINE void multiply(const uint16_t* a, const uint16_t* b, int64_t part, int64_t step,
                               const uint16_t* fetched) {
    using tiles::kTile;
    constexpr int kNoPart = -1;
    constexpr Term term = kChain.terms[kTerm];
    constexpr Term loaded = kTerm == kFirst ? Term{kNoPart, kNoPart} : kChain.terms[kTerm - 1];
    if constexpr (term.column != loaded.column) {
      tiles.template load<6>(b + term.column * part, tiles::kRowBytes);
      tiles.template load<7>(b + term.column * part + kTile, tiles::kRowBytes);
    }
    if constexpr (term.row != loaded.row) {
      tiles.template stream<4>(a + term.row * part, tiles::kRowBytes);
      tiles.template stream<5>(a + term.row * part + kTile, tiles::kRowBytes);
    }
    if constexpr (kTerm == 0)
      if (step == 0) beside.begin(tiles, nullptr);
    tiles.template dot<0, 4, 6>();
    tiles.template dot<1, 4, 7>();
    if constexpr (kTerm == kFirst) beside.step(step, rowsBeside);
    for (int64_t i = 0; i < lines; i++)
      tiles::fetch(fetched + ((kTerm - kFirst) * lines + i) * kTileDepth);
    tiles.template dot<2, 5, 6>();
    tiles.template dot<3, 5, 7>();
  }
  /// The terms from kFirst on, at all of `blocks` steps of K.
  template <int kFirst, int... kTerms>
  FIGMENT_INLINE void run(const uint16_t* a, const uint16_t* b, int64_t blocks, int64_t firstStep,
                          const uint16_t* fetched, std::integer_sequence<int, kTerms...>) {
    const int64_t part = blocks * kPair,
                  fetchStep = int64_t(sizeof...(kTerms)) * lines * kTileDepth;
    for (int64_t block = 0; block < blocks; block++, a += kPair, b += kPair, fetched += fetchStep)
      (multiply<kFirst + kTerms, kFirst>(a, b, part, firstStep + block, fetched), ...);
  }
};

/// Sums kBlock × kBlock products over `blocks` blocks of K into tiles, of factors of so many parts.
template <int kRows, int kColumns, int kMost, class Tiles, class Finish>
[[gnu::noinline]] void multiplyChain(Tiles& tiles, const uint16_t* a, const uint16_t* b,
                                     int64_t blocks, Ahead ahead,
                                     const tiles::Beside<Finish>& beside) {
  using Product = PartsProduct<kRows, kColumns, kMost, Tiles, Finish>;
  constexpr int kTogether = Product::kChain.together, kApart = Product::kChain.count - kTogether;
  Product product = {tiles, beside, beside.rowsOf(blocks),
                     ceilDiv(ahead.lines, blocks * Product::kChain.count)};
  product.template run<0>(a, b, blocks, 0, ahead.data,
                          std::make_integer_sequence<int, kTogether>());
  product.template run<kTogether>(a, b, blocks, kTogether > 0 ? blocks : 0,
                                  ahead.data + kTogether * blocks * product.lines * kTileDepth,
                                  std::make_integer_sequence<int, kApart>());
  product.beside.finishRows(kBlock);
}

template <class Tiles, class Finish>
inline void multiplyParts(Tiles& tiles, const Parts& parts, const uint16_t* a, const uint16_t* b,
                          int64_t blocks, const Ahead& ahead, const tiles::Beside<Finish>& beside) {
  const auto run = [&]<int kRows, int kColumns>() {
    if (parts.most == kExactParts)
      multiplyChain<kRows, kColumns, kExactParts>(tiles, a, b, blocks, ahead, beside);
    else if constexpr (kRows <= kFastParts && kColumns <= kFastParts)
      multiplyChain<kRows, kColumns, kFastParts>(tiles, a, b, blocks, ahead, beside);
  };
  const auto withRows = [&]<int kRows>() {
    if (parts.columns == 1) run.template operator()<kRows, 1>();
    if (parts.columns == 2) run.template operator()<kRows, 2>();
    if (parts.columns == 3) run.template operator()<kRows, 3>();
  };
  if (parts.rows == 1) withRows.template operator()<1>();
  if (parts.rows == 2) withRows.template operator()<2>();
  if (parts.rows == 3) withRows.template operator()<3>();
}

/// The same by fused multiply-adds, from unpacked panels.
inline void multiplyPlainly(const float* a, const float* b, int64_t depth, float* sums) {
  constexpr int64_t kRows = 4, kVectors = kBlock / kLanes;
  for (int64_t row = 0; row < kBlock; row += kRows) {
    F32 sum[kRows][kVectors];
    for (auto& vectors : sum)
      for (F32& vector : vectors) vector = F32::zero();
    for (int64_t k = 0; k < depth; k++) {
      for (int64_t i = 0; i < kRows; i++) {
        const F32 x = F32::broadcast(a[(row + i) * depth + k]);
        for (int64_t j = 0; j < kVectors; j++)
          sum[i][j] = fma(x, F32::load(b + k * kBlock + j * kLanes), sum[i][j]);
      }
    }
    for (int64_t i = 0; i < kRows; i++)
      for (int64_t j = 0; j < kVectors; j++)
        sum[i][j].store(sums + (row + i) * kBlock + j * kLanes);
  }
}

/// Multiplies a row of a block by 2^exponent.
struct PowerOfTwo {
  // In two steps, because the power may be none that f32 has. Both have its sign, so that neither
  // leaves the range of f32 unless the result does.
  F32 one, two;
  explicit PowerOfTwo(int exponent)
      : one(F32::broadcast(powerOfTwo(exponent / 2))),
        two(F32::broadcast(powerOfTwo(exponent - exponent / 2))) {}
  FIGMENT_INLINE F32 operator()(F32 x) const { return x * one * two; }
};

/// What a worker needs to pack panels and multiply them.
struct PanelScratch {
  float *raw, *plainRows, *plainColumns;  ///< one panel each
  float* blocks;                          ///< sums of two blocks

  static PanelScratch take(Carver& carver) {
    PanelScratch s;
    s.raw = carver.take<float>(kBlock * kCut);
    s.plainRows = carver.take<float>(kBlock * kCut);
    s.plainColumns = carver.take<float>(kBlock * kCut);
    s.blocks = carver.take<float>(2 * tiles::kBlockSums);
    return s;
  }
};

/// A packed panel of a cut.
struct Panel {
  const uint16_t* data;
  Scale scale;
  Ahead ahead = {};
};

/// Sums the products of a cut, block by block, of the panels rowPanel(i) and columnPanel(i, j),
/// where i and j are the first row and column of the block, and calls finish(row, end, column,
/// sums, exponent) for rows of kBlock sums, which are to be multiplied by 2^exponent. Answers how
/// many blocks did not run on tiles.
template <class Tiles, class RowPanel, class ColumnPanel, class Finish>
inline int64_t sumUnit(Tiles& tiles, int mostParts, const PanelScratch& s, int64_t rows,
                       RowPanel&& rowPanel, int64_t columns, ColumnPanel&& columnPanel,
                       int64_t depth, Finish&& finish) {
  const int64_t blocks = ceilDiv(depth, kTileDepth);
  int64_t plain = 0;
  int exponents[2] = {};  // of the block that is summed, and of the one that is finished beside it
  tiles::forBlocks(
      tiles, rows, columns, s.blocks,
      [&](int64_t i, int64_t j, float* sums, auto& beside) {
        const Panel a = rowPanel(i), b = columnPanel(i, j);
        const bool fits = a.scale.fits && b.scale.fits;
        int& exponent = exponents[sums != s.blocks];
        exponent = fits ? -(a.scale.shift + b.scale.shift) : 0;
        if (fits) {
          multiplyParts(tiles, {a.scale.parts, b.scale.parts, mostParts}, a.data, b.data, blocks,
                        b.ahead, beside);
          return true;
        }
        plain++;
        beside.store(tiles);
        beside.finishRows(kBlock);
        unpackPanel<Side::rows>(s.plainRows, a.data, blocks, a.scale);
        unpackPanel<Side::columns>(s.plainColumns, b.data, blocks, b.scale);
        multiplyPlainly(s.plainRows, s.plainColumns, blocks * kTileDepth, sums);
        return false;
      },
      [&](int64_t i, int64_t end, int64_t j, float* sums) {
        finish(i, end, j, sums, exponents[sums >= s.blocks + tiles::kBlockSums]);
      });
  return plain;
}

}  // namespace figment::FIGMENT_ISA::split
