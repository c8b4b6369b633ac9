// conv2dWeightGrad of bf16 factors on matrix tiles, in the order of weight_grad_lines.inl.h and
// divided as weight_grad_units.inl.h says. Include only from files compiled for one instruction
// set.
#pragma once

#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_units.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Steps of K that are summed at a time: the lines of a block's columns, which taps share, and its
/// sums stay in a first-level cache while tiles of rows pass by.
constexpr int64_t kRunSteps = 16;
/// Tiles of sums of a run, at most: two are left for factors, and where a run has two rows, four.
constexpr int64_t kRunTiles = 6;

/// Tiles of a part that are summed together: rows of six, as taps share lines, else squares.
struct RunShape {
  int64_t rows, columns;
  explicit RunShape(const GradientShape& g)
      : rows(g.taps > 1 ? 1 : 2), columns(g.taps > 1 ? kRunTiles : 2) {}
};

/// Calls found(row, rows, column, columns) for the blocks of tiles that a part is summed in, one
/// after another: those with the same columns follow each other.
template <class F>
FIGMENT_INLINE void forBlocks(const RunShape& run, const GradientPart& part, F&& found) {
  const int64_t count = ceilDiv(part.columns, run.columns);
  for (int64_t i = 0; i < count; i++) {
    const int64_t column = i * part.columns / count, end = (i + 1) * part.columns / count;
    for (int64_t row = 0; row < part.rows; row += run.rows)
      found(row, smaller(run.rows, part.rows - row), column, end - column);
  }
}

/// Both factors of a run of steps.
struct GradientRun {
  const uint16_t* rows[kRunTiles];  ///< tiles of the first step; the next follow
  const uint16_t* columns[kRunTiles];
  const int64_t* steps;  ///< where each step lies behind the columns
  int64_t count;
};

/// Calls f for kBegin … kEnd − 1 as constants.
template <int kEnd, int kBegin = 0, class F>
FIGMENT_INLINE void unrolled(F&& f) {
  if constexpr (kBegin < kEnd) {
    f.template operator()<kBegin>();
    unrolled<kEnd, kBegin + 1>(f);
  }
}

/// Where tile `tile` of a block lies in sums whose rows of tiles are `step` apart.
template <int kColumns>
FIGMENT_INLINE float* tileOf(float* sums, int64_t step, int tile) {
  return sums + tile / kColumns * step + tile % kColumns * kTileSums;
}

/// Stores the sums of a block.
template <int kRows, int kColumns, class Tiles>
inline void storeBlock(Tiles& tiles, float* sums, int64_t step) {
  unrolled<kRows * kColumns>(
      [&]<int i>() { tiles.template store<i>(tileOf<kColumns>(sums, step, i), kRowBytes); });
}

/// Adds the products of one step, whose tiles lie at numbers `row` and `column` behind those of the
/// run's first. begin<i>() comes before the product of tile i.
template <int kRows, int kColumns, class Tiles, class Begin>
FIGMENT_INLINE void multiplyStep(Tiles& tiles, const GradientRun& run, int64_t row, int64_t column,
                                 Begin&& begin) {
  constexpr int kA = kRows == 1 ? kRunTiles : 2 * kRows, kB = kA + kRows;
  unrolled<kColumns>([&]<int j>() {
    constexpr int kOwnB = kRows == 1 ? kB : kB + j;
    tiles.template load<kOwnB>(run.columns[j] + column, kRowBytes);
    unrolled<kRows>([&]<int i>() {
      if constexpr (j == 0) tiles.template load<kA + i>(run.rows[i] + row, kRowBytes);
      begin.template operator()<i * kColumns + j>();
      tiles.template dot<i * kColumns + j, kA + i, kOwnB>();
    });
  });
}

/// Adds the products of a run to kRows × kColumns tiles of sums, rows of them `step` apart, from
/// zero when `first`; they stay in registers. Those of the block before, of as many tiles, are
/// stored to `before` as their registers are needed: by then their products are done, while a
/// store right behind them would hold up loads (native/NOTES.md).
template <int kRows, int kColumns, class Tiles>
inline void multiplyRun(Tiles& tiles, const GradientRun& run, bool first, float* sums, int64_t step,
                        float* before) {
  multiplyStep<kRows, kColumns>(tiles, run, 0, run.steps[0], [&]<int i>() {
    if (before != nullptr) tiles.template store<i>(tileOf<kColumns>(before, step, i), kRowBytes);
    if (first)
      tiles.template zero<i>();
    else
      tiles.template load<i>(tileOf<kColumns>(sums, step, i), kRowBytes);
  });
  for (int64_t k = 1; k < run.count; k++)
    multiplyStep<kRows, kColumns>(tiles, run, k * kTile, run.steps[k], []<int>() {});
}

/// Calls f with rows × columns of a block as constants.
template <class F>
FIGMENT_INLINE void withBlock(int64_t rows, int64_t columns, F&& f) {
  const int64_t block = rows * 10 + columns;
  switch (block) {
    case 11:
      return f.template operator()<1, 1>();
    case 12:
      return f.template operator()<1, 2>();
    case 13:
      return f.template operator()<1, 3>();
    case 14:
      return f.template operator()<1, 4>();
    case 15:
      return f.template operator()<1, 5>();
    case 16:
      return f.template operator()<1, 6>();
    case 21:
      return f.template operator()<2, 1>();
    default:
      return f.template operator()<2, 2>();
  }
}

/// The memory of a call.
struct GradientScratch {
  GradientTables tables;
  uint16_t *rows, *lines;           ///< packed chunks: tiles of dy, and lines of the image
  int64_t rowNumbers, lineNumbers;  ///< of a chunk
  uint16_t* zeros;                  ///< as many as images or dy have channels
  int64_t zeroCount;
  GradientSums sums;

  static GradientScratch take(Carver& carver, const GradientWork& g, int threads) {
    GradientScratch s;
    s.tables = GradientTables::take(carver, g);
    s.rowNumbers = g.groups * g.rowTiles * g.rowStep;
    s.lineNumbers = g.groups * g.blocks * g.blockStep;
    s.rows = carver.take<uint16_t>(g.copies(threads) * s.rowNumbers);
    s.lines = carver.take<uint16_t>(g.copies(threads) * s.lineNumbers);
    s.zeroCount = larger(g.channels, g.channelsOut);
    s.zeros = carver.take<uint16_t>(s.zeroCount);
    s.sums = GradientSums::take(carver, g, threads);
    return s;
  }
  /// With the packed chunk number `copy`.
  GradientScratch at(int64_t copy) const {
    GradientScratch s = *this;
    s.rows += copy * rowNumbers;
    s.lines += copy * lineNumbers;
    return s;
  }
};

/// A block whose sums registers hold, or none.
struct GradientBlock {
  int64_t rows = 0, columns = 0;
  float* sums = nullptr;
};

/// Adds the products of the steps [begin, end) of a chunk to the sums of a part.
template <class Tiles>
inline void sumPart(const GradientWork& g, Tiles& tiles, const GradientScratch& s,
                    const GradientPart& part, int64_t begin, int64_t end, bool first, float* sums) {
  const RunShape shape(g);
  const uint16_t* tilesOfRows = s.rows + (part.group * g.rowTiles + part.row) * g.rowStep;
  const uint16_t* lines = s.lines + part.group * g.blocks * g.blockStep;
  const int64_t sumStep = g.partColumns * kTileSums;
  GradientBlock held;
  const auto store = [&] {
    if (held.sums != nullptr)
      withBlock(held.rows, held.columns, [&]<int kRows, int kColumns>() {
        storeBlock<kRows, kColumns>(tiles, held.sums, sumStep);
      });
  };
  for (int64_t at = begin; at < end; at += kRunSteps) {
    GradientRun run;
    run.steps = s.tables.steps + at;
    run.count = smaller(kRunSteps, end - at);
    forBlocks(shape, part, [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
      for (int64_t i = 0; i < rows; i++)
        run.rows[i] = tilesOfRows + (row + i) * g.rowStep + at * kTile;
      for (int64_t i = 0; i < columns; i++)
        run.columns[i] = lines + s.tables.columns[part.column + column + i];
      if (rows != held.rows || columns != held.columns) {
        store();
        held.sums = nullptr;
      }
      float* to = sums + row * sumStep + column * kTileSums;
      withBlock(rows, columns, [&]<int kRows, int kColumns>() {
        multiplyRun<kRows, kColumns>(tiles, run, first && at == begin, to, sumStep, held.sums);
      });
      held = {rows, columns, to};
    });
  }
  store();
}

/// Packs the bundles [first, first + count), without a context on this worker alone.
inline void packChunk(const GradientWork& g, Context* context, const GradientScratch& s,
                      int64_t first, int64_t count) {
  const int64_t numbers = g.images * g.height * g.width * g.channels;
  const Image<uint16_t> image = {bitsOf(g.image), bitsOf(g.image) + numbers};
  forRows(
      g, context, count,
      [&](int64_t bundle, int64_t row) {
        packLines(g, image, s.zeros, first + bundle, row, g.blockStep,
                  s.lines + g.lineOf(bundle, row) * kTileDepth);
      },
      [&](int64_t bundle, int64_t row) {
        packRowTiles(g, bitsOf(g.dy), s.zeros, first + bundle, row, g.rowStep,
                     s.rows + g.stepOf(bundle, row) * kTile);
      });
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  Carver measure(nullptr);
  GradientScratch::take(measure, GradientWork(call, 1, 1), threads);
  return measure.used();
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const GradientWork g(call, 1, 1);
  Carver carver(context.scratch());
  const GradientScratch s = GradientScratch::take(carver, g, context.threads());
  s.tables.fill(g);
  zeroPacked(s.zeros, s.zeroCount);
  runGradient(
      g, s.tables, context, s.sums,
      [&](Context* all, int64_t copy, int64_t first, int64_t count) {
        packChunk(g, all, s.at(copy), first, count);
      },
      [&](int64_t copy, const GradientPart& part, int64_t begin, int64_t end, bool first,
          float* sums) {
        Tiles tiles;
        sumPart(g, tiles, s.at(copy), part, begin, end, first, sums);
      });
}

inline bool takesWeightGradient(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         conv::plainShape(call, p) && packsWeightGradient(p, 1, 1);
}

/// Whether tiles are filled well enough to repay the packing.
inline bool fillsWeightGradient(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  const int64_t in = p.c / p.groups, out = p.o / p.groups;
  // Gathering columns of few channels costs as much as kBlock of these gain.
  if (in < kLeastRows) return out >= kBlock && int64_t(p.kh) * p.kw * in >= kBlock;
  return out >= kLeastRows;
}

template <class Tiles>
constexpr Variant weightGradientOn() {
  return {"conv2dWeightGrad",    Tiles::kName,
          Tiles::kIsa,           Tiles::template supports<takesWeightGradient, fillsWeightGradient>,
          weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
