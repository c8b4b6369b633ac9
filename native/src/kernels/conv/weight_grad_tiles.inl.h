// conv2dWeightGrad of bf16 factors on matrix tiles, in the order of weight_grad_lines.inl.h and
// divided as weight_grad_units.inl.h says. Include only from files compiled for one instruction
// set.
#pragma once

#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_units.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Steps of K that are summed at a time: what a pair of tiles of rows and the taps of two blocks
/// read of these stays in a first-level cache.
constexpr int64_t kRunSteps = 8;

/// Where tiles of a chunk lie.
struct GradientTables {
  int64_t* steps;    ///< of each step of K, the numbers of a block before its first line
  int64_t* columns;  ///< of each tile of columns of a group, those before its line of position 0

  static GradientTables take(Carver& carver, const GradientWork& g) {
    GradientTables t;
    t.steps = carver.take<int64_t>(g.chunkSteps());
    t.columns = carver.take<int64_t>(g.columnTiles);
    return t;
  }
  void fill(const GradientWork& g) const {
    int64_t* step = steps;
    for (int64_t bundle = 0; bundle < g.chunkBundles; bundle++)
      for (int64_t row = 0; row < g.bandRows; row++)
        for (int64_t span = 0; span < g.spans; span++)
          *step++ = (bundle * g.bundleLines() + row * g.rowLines()) * kTileDepth + span * kTile;
    for (int64_t tile = 0; tile < g.columnTiles; tile++)
      columns[tile] = tile / g.taps * g.blockStep + g.columnPlace(tile) * kTileDepth;
  }
};

/// Both factors of a run of steps, for up to two tiles of rows and of columns.
struct GradientRun {
  const uint16_t *row, *lowerRow;  ///< tiles of the first step; the next follow
  const uint16_t *column, *rightColumn;
  const int64_t* steps;  ///< where each step lies behind the columns
  int64_t count;
  bool first;  ///< begins at zero
};

/// Adds the products of a run to kRows × kColumns tiles of sums, a row of them `step` apart.
template <int kRows, int kColumns, class Tiles>
inline void multiplyRun(Tiles& tiles, const GradientRun& run, float* sums, int64_t step) {
  float* lower = sums + step;
  if (run.first) {
    tiles.template zero<0>();
    if constexpr (kColumns == 2) tiles.template zero<1>();
    if constexpr (kRows == 2) tiles.template zero<2>();
    if constexpr (kRows == 2 && kColumns == 2) tiles.template zero<3>();
  } else {
    tiles.template load<0>(sums, kRowBytes);
    if constexpr (kColumns == 2) tiles.template load<1>(sums + kTileSums, kRowBytes);
    if constexpr (kRows == 2) tiles.template load<2>(lower, kRowBytes);
    if constexpr (kRows == 2 && kColumns == 2) tiles.template load<3>(lower + kTileSums, kRowBytes);
  }
  for (int64_t i = 0; i < run.count; i++) {
    const int64_t at = run.steps[i];
    tiles.template load<4>(run.row + i * kTile, kRowBytes);
    tiles.template load<6>(run.column + at, kRowBytes);
    tiles.template dot<0, 4, 6>();
    if constexpr (kColumns == 2) {
      tiles.template load<7>(run.rightColumn + at, kRowBytes);
      tiles.template dot<1, 4, 7>();
    }
    if constexpr (kRows == 2) {
      tiles.template load<5>(run.lowerRow + i * kTile, kRowBytes);
      tiles.template dot<2, 5, 6>();
      if constexpr (kColumns == 2) tiles.template dot<3, 5, 7>();
    }
  }
  tiles.template store<0>(sums, kRowBytes);
  if constexpr (kColumns == 2) tiles.template store<1>(sums + kTileSums, kRowBytes);
  if constexpr (kRows == 2) tiles.template store<2>(lower, kRowBytes);
  if constexpr (kRows == 2 && kColumns == 2) tiles.template store<3>(lower + kTileSums, kRowBytes);
}

/// Adds the products of the steps [begin, end) of a chunk to the sums of a part.
template <class Tiles>
inline void sumPart(const GradientWork& g, Tiles& tiles, const GradientTables& tables,
                    const PackedGradient& packed, const GradientPart& part, int64_t begin,
                    int64_t end, bool first, float* sums) {
  const uint16_t* rows = packed.rows + (part.group * g.rowTiles + part.row) * g.rowStep;
  const uint16_t* lines = packed.lines + part.group * g.blocks * g.blockStep;
  const int64_t near = 2 * g.taps, sumStep = g.partColumns * kTileSums;
  for (int64_t at = begin; at < end; at += kRunSteps) {
    GradientRun run;
    run.steps = tables.steps + at;
    run.count = smaller(kRunSteps, end - at);
    run.first = first && at == begin;
    for (int64_t j = 0; j < part.columns; j += near) {
      for (int64_t i = 0; i < part.rows; i += 2) {
        run.row = rows + i * g.rowStep + at * kTile;
        run.lowerRow = run.row + g.rowStep;
        const bool lower = i + 1 < part.rows;
        for (int64_t column = j; column < smaller(j + near, part.columns); column += 2) {
          const bool right = column + 1 < part.columns;
          const int64_t* places = tables.columns + part.column + column;
          run.column = lines + places[0];
          if (right) run.rightColumn = lines + places[1];
          float* to = sums + i * sumStep + column * kTileSums;
          if (lower && right)
            multiplyRun<2, 2>(tiles, run, to, sumStep);
          else if (lower)
            multiplyRun<2, 1>(tiles, run, to, sumStep);
          else if (right)
            multiplyRun<1, 2>(tiles, run, to, sumStep);
          else
            multiplyRun<1, 1>(tiles, run, to, sumStep);
        }
      }
    }
  }
}

/// The memory of a call.
struct GradientScratch {
  GradientTables tables;
  PackedGradient packed;
  uint16_t* zeros;    ///< as many as images or dy have channels
  float *kept, *own;  ///< sums of all splits; of a part for each worker, where none are kept
  int64_t zeroCount;

  static GradientScratch take(Carver& carver, const GradientWork& g, int threads) {
    GradientScratch s;
    s.tables = GradientTables::take(carver, g);
    s.zeroCount = larger(g.channels, g.channelsOut);
    s.zeros = carver.take<uint16_t>(s.zeroCount);
    s.packed.rows = carver.take<uint16_t>(g.groups * g.rowTiles * g.rowStep);
    s.packed.lines = carver.take<uint16_t>(g.groups * g.blocks * g.blockStep);
    s.kept = carver.take<float>(g.keptSums());
    s.own = carver.take<float>(g.keepsSums() ? 0 : threads * g.partSums());
    return s;
  }
};

/// Packs the bundles [first, first + count) by rows of places and of bands.
inline void packChunk(const GradientWork& g, Context& context, const GradientScratch& s,
                      int64_t first, int64_t count) {
  /// Rows of less than so many lines are packed several at a time.
  constexpr int64_t kLeastLines = 1024;
  const Image<uint16_t> image = {bitsOf(g.image),
                                 bitsOf(g.image) + g.images * g.height * g.width * g.channels};
  const int64_t each = g.rows.size() + g.bandRows;
  context.parallelFor(
      count * each, ceilDiv(kLeastLines, g.groups * g.blocks * g.rowLines()),
      [&](int64_t begin, int64_t end, int) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t bundle = i / each, row = i % each;
          if (row < g.rows.size())
            packLines(g, image, s.zeros, first + bundle, row, g.blockStep,
                      s.packed.lineAt(g, bundle, row));
          else
            packRowTiles(
                g, bitsOf(g.dy), s.zeros, first + bundle, row - g.rows.size(), g.rowStep,
                s.packed.rows + (bundle * g.bandRows + row - g.rows.size()) * g.spans * kTile);
        }
      });
}

inline size_t weightGradientScratch(const OpCall& call, int threads) {
  Carver measure(nullptr);
  GradientScratch::take(measure, GradientWork(call, 1), threads);
  return measure.used();
}

template <class Tiles>
inline void runWeightGradient(const OpCall& call, Context& context) {
  const GradientWork g(call, 1);
  Carver carver(context.scratch());
  const GradientScratch s = GradientScratch::take(carver, g, context.threads());
  s.tables.fill(g);
  zeroPacked(s.zeros, s.zeroCount);
  for (int64_t chunk = 0; chunk < g.chunks; chunk++) {
    const int64_t firstBundle = chunk * g.chunkBundles;
    const int64_t bundles = smaller(g.chunkBundles, g.bundles - firstBundle);
    packChunk(g, context, s, firstBundle, bundles);
    context.parallelFor(g.splits * g.parts(), 1, [&](int64_t begin, int64_t end, int worker) {
      Tiles tiles;
      for (int64_t i = begin; i < end; i++) {
        const GradientPart part(g, i % g.parts());
        const int64_t from = i / g.parts() * g.splitSteps;
        const int64_t to = smaller(from + g.splitSteps, bundles * g.bundleSteps());
        float* sums = g.keepsSums() ? s.kept + i * g.partSums() : s.own + worker * g.partSums();
        sumPart(g, tiles, s.tables, s.packed, part, from, to, chunk == 0, sums);
        if (!g.keepsSums()) writePart(g, part, sums);
      }
    });
  }
  if (g.keepsSums()) writeKept(g, context, s.kept);
}

inline bool takesWeightGradient(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         conv::plainShape(call, p) && packsWeightGradient(p, 1);
}

template <class Tiles>
constexpr Variant weightGradientOn() {
  using P = Conv2dWeightGradParams;
  return {"conv2dWeightGrad",    Tiles::kName,
          Tiles::kIsa,           Tiles::template supports<takesWeightGradient, fillsConvolution<P>>,
          weightGradientScratch, runWeightGradient<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::tiles
