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

#include "kernels/fallbacks.h"
#include "kernels/gemm/matrix_tiles_blocks.inl.h"
#include "kernels/gemm/split.inl.h"

namespace figment::FIGMENT_ISA::split {

/// Splitting both factors takes as long as this many rows or columns of a product gain on the
/// tiles. An estimate from counts of instructions: never measured.
constexpr int64_t kLeastSide = 48, kLeastDepth = 64;

/// Whether a product on tiles repays the splitting of its factors.
inline bool repays(int64_t rows, int64_t columns, int64_t depth) {
  return depth >= kLeastDepth &&
         double(rows) * double(columns) >= double(kLeastSide) * (double(rows) + double(columns));
}

/// Whether a factor is not bf16 already.
inline bool needsSplitting(const OpCall& call) {
  return call.in[0].format != Format::bf16 || call.in[1].format != Format::bf16;
}

/// Sums kBlock × kBlock products over `blocks` blocks of K into tiles.
template <class Tiles, class Finish>
inline void multiplyParts(Tiles& tiles, const Chain& chain, const uint16_t* a, const uint16_t* b,
                          int64_t blocks, tiles::Beside<Finish> beside) {
  using tiles::kTile;
  const int64_t part = blocks * kPair, rowsBeside = beside.rowsOf(blocks * chain.count);
  int64_t step = 0;
  const auto run = [&](const Term* terms, int count) {
    for (int64_t block = 0; block < blocks; block++) {
      Term loaded = {-1, -1};
      for (int t = 0; t < count; t++, step++) {
        const Term term = terms[t];
        if (term.column != loaded.column) {
          const uint16_t* at = b + term.column * part + block * kPair;
          tiles.template load<6>(at, tiles::kRowBytes);
          tiles.template load<7>(at + kTile, tiles::kRowBytes);
        }
        if (term.row != loaded.row) {
          const uint16_t* at = a + term.row * part + block * kPair;
          tiles.template load<4>(at, tiles::kRowBytes);
          tiles.template load<5>(at + kTile, tiles::kRowBytes);
        }
        loaded = term;
        if (step == 0) {
          beside.store(tiles);
          tiles::zeroSums(tiles);
        }
        tiles.template dot<0, 4, 6>();
        tiles.template dot<1, 4, 7>();
        beside.step(step, rowsBeside);
        tiles.template dot<2, 5, 6>();
        tiles.template dot<3, 5, 7>();
      }
    }
  };
  run(chain.terms, chain.together);
  run(chain.terms + chain.together, chain.count - chain.together);
  beside.finishRows(kBlock);
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
          const Chain chain({a.scale.parts, b.scale.parts, mostParts});
          multiplyParts(tiles, chain, a.data, b.data, blocks, beside);
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
