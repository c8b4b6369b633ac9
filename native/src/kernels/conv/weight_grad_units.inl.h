// How the work of a weight gradient on matrix tiles is divided: chunks of positions, which all
// workers pack; parts of the result, in tiles of sums; and splits of a chunk, where parts are few.
// A worker sums one part over one split. Where the whole result is small, splits are a few bundles
// that a worker packs and sums one after another, so that nothing leaves its cache. All of this is
// fixed by the shape, and splits are added in order.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/weight_grad_pack.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// What the packed factors of a chunk may take, or twice what is summed.
constexpr int64_t kChunkBytes = 16 << 20;
/// Chunks are split until there are about this many units of work, of so many steps at least.
constexpr int64_t kWantedUnits = 8, kLeastSteps = 32;
/// Tiles of sums of a part, 1 KiB each, which should stay in a second-level cache beside what they
/// are summed of; and how many rows they form.
constexpr int64_t kPartTiles = 400, kMostRowTiles = 12;
/// What a bundle, and all sums, may take at most; sums so many times what the result takes in f32.
constexpr double kMostBytes = 64e6, kMostShare = 8;

/// Bundles of which results that are summed bundle by bundle have so many, for as many workers.
constexpr int64_t kLeastApart = 4;

struct GradientWork : GradientShape {
  Elements image, dy;
  Results dw;
  int64_t partRows, partColumns;  ///< tiles of a part
  int64_t rowParts, columnParts;  ///< of a group
  bool apart;                     ///< splits are of bundles, each packed by the worker that sums it
  int64_t chunkBundles, chunks;
  int64_t splitSteps, splits;  ///< of a chunk, or of all steps
  /// Numbers of one layer of a packed tile of rows and of a block of lines, and of all its layers.
  int64_t rowLayer, lineLayer, rowStep, blockStep;

  /// With so many numbers of bf16, each in a layer of its own, for one of dy and of the image.
  GradientWork(const OpCall& call, int64_t rowLayers, int64_t lineLayers)
      : GradientShape(call.as<Conv2dWeightGradParams>(), rowLayers + lineLayers),
        image(Elements::of(call.in[0])),
        dy(Elements::of(call.in[1])),
        dw(Results::of(call.out[0])) {
    divideResult();
    dividePositions(int64_t(sizeof(uint16_t)) *
                    (rowLayers * rowNumbers() + lineLayers * lineNumbers()));
    // An odd number of lines: neighbours do not meet in one set of a cache.
    rowLayer = chunkSteps() * kTile + kTileDepth;
    lineLayer = (chunkBundles * bundleLines() / 2 * 2 + 1) * kTileDepth;
    rowStep = rowLayers * rowLayer;
    blockStep = lineLayers * lineLayer;
  }

  int64_t parts() const { return groups * rowParts * columnParts; }
  int64_t partSums() const { return partRows * partColumns * kTileSums; }
  int64_t chunkSteps() const { return chunkBundles * bundleSteps(); }
  /// Where row `row` of a bundle begins, both counted within a chunk.
  int64_t lineOf(int64_t bundle, int64_t row) const {
    return bundle * bundleLines() + row * rowLines();
  }
  int64_t stepOf(int64_t bundle, int64_t row) const { return bundle * bundleSteps() + row * spans; }
  /// Whether sums outlive the unit that makes them.
  bool keepsSums() const { return splits * chunks > 1; }
  /// Chunks that are packed at the same time.
  int64_t copies(int threads) const { return apart ? threads : 1; }
  int64_t keptSums() const { return keepsSums() ? splits * parts() * partSums() : 0; }

 private:
  void divideResult() {
    partRows = ceilDiv(rowTiles, ceilDiv(rowTiles, kMostRowTiles));
    rowParts = ceilDiv(rowTiles, partRows);
    // Taps of a block read the same lines and stay together.
    const int64_t most = larger(1, kPartTiles / partRows), whole = most < taps ? 1 : taps;
    int64_t fewest = ceilDiv(columnTiles, most / whole * whole);
    // Rather than splits, whose sums take another pass.
    if (!near())
      fewest =
          larger(fewest, smaller(ceilDiv(kWantedUnits, groups * rowParts), columnTiles / whole));
    partColumns = ceilDiv(ceilDiv(columnTiles, fewest), whole) * whole;
    columnParts = ceilDiv(columnTiles, partColumns);
  }
  void dividePositions(int64_t bundleBytes) {
    const int64_t sumBytes = parts() * partSums() * int64_t(sizeof(float));
    apart = near() && bundles >= kLeastApart;
    if (apart) {
      chunkBundles = 1;
      chunks = bundles;
      // Sums of splits are written once and read once more.
      const int64_t wanted = sumBytes * 2 <= kNearBytes ? kWantedUnits : kLeastApart;
      const int64_t splitBundles = ceilDiv(bundles, smaller(bundles, wanted));
      splitSteps = splitBundles * bundleSteps();
      splits = ceilDiv(bundles, splitBundles);
      return;
    }
    const int64_t most = larger(1, larger(kChunkBytes, 2 * sumBytes) / bundleBytes);
    chunkBundles = ceilDiv(bundles, ceilDiv(bundles, most));
    chunks = ceilDiv(bundles, chunkBundles);
    const int64_t wanted = smaller(ceilDiv(kWantedUnits, parts()), chunkSteps() / kLeastSteps);
    splitSteps = ceilDiv(chunkSteps(), larger(1, wanted));
    splits = ceilDiv(chunkSteps(), splitSteps);
  }
};

/// Whether what is packed and summed stays within reason: groups of few channels are mostly
/// padding.
inline bool packsWeightGradient(const Conv2dWeightGradParams& p, int64_t rowLayers,
                                int64_t lineLayers) {
  if (!conv::reasonable(p)) return false;
  const GradientShape g(p, rowLayers + lineLayers);
  const double sums =
      double(g.groups) * double(g.rowTiles) * double(g.columnTiles) * double(kTileSums);
  const double own = double(p.o) * double(g.numbers());
  const double packed =
      double(rowLayers) * double(g.rowNumbers()) + double(lineLayers) * double(g.lineNumbers());
  return packed * sizeof(uint16_t) <= kMostBytes &&
         (sums * sizeof(float) <= kMostBytes || sums <= kMostShare * own);
}

/// A part of the result, in tiles of sums.
struct GradientPart {
  int64_t group, row, rows, column, columns;
  GradientPart(const GradientWork& g, int64_t part)
      : group(part / g.columnParts / g.rowParts),
        row(part / g.columnParts % g.rowParts * g.partRows),
        rows(smaller(g.partRows, g.rowTiles - row)),
        column(part % g.columnParts * g.partColumns),
        columns(smaller(g.partColumns, g.columnTiles - column)) {}
};

/// Where steps and tiles of columns lie in a packed chunk.
struct GradientTables {
  int64_t* steps;    ///< of each step of K, the numbers of a block before its first line
  int64_t* taps;     ///< that the tiles of columns of a block stand for
  int64_t* columns;  ///< of each tile of columns of a group, those before its line of position 0

  static GradientTables take(Carver& carver, const GradientWork& g) {
    GradientTables t;
    t.steps = carver.take<int64_t>(g.chunkSteps());
    t.taps = carver.take<int64_t>(g.taps);
    t.columns = carver.take<int64_t>(g.columnTiles);
    return t;
  }
  void fill(const GradientWork& g) const {
    int64_t* step = steps;
    for (int64_t bundle = 0; bundle < g.chunkBundles; bundle++)
      for (int64_t row = 0; row < g.bandRows; row++)
        for (int64_t span = 0; span < g.spans; span++)
          *step++ = g.lineOf(bundle, row) * kTileDepth + span * kTile;
    int64_t* tap = taps;
    g.forTaps([&](int64_t t) { *tap++ = t; });
    for (int64_t tile = 0; tile < g.columnTiles; tile++)
      columns[tile] = tile / g.taps * g.blockStep + g.placeOf(taps[tile % g.taps]) * kTileDepth;
  }
};

/// Where the sums of a tile lie in those of all parts.
inline int64_t sumsOf(const GradientWork& g, int64_t group, int64_t row, int64_t column) {
  const int64_t part =
      (group * g.rowParts + row / g.partRows) * g.columnParts + column / g.partColumns;
  return part * g.partSums() +
         (row % g.partRows * g.partColumns + column % g.partColumns) * kTileSums;
}

/// Writes what a tile of columns has summed for one channel of dy, in `splits` splits.
inline void writeSums(const GradientWork& g, const GradientTables& tables, int64_t output,
                      int64_t tile, const float* sums, int64_t splits, int64_t splitStep) {
  const int64_t tap = tables.taps[tile % g.taps], channel = tile / g.taps * kSide;
  const int64_t width = g.gathered ? g.numbers() : g.groupIn;
  const int64_t count = smaller(kSide, width - channel);
  const Results to = g.dw + (output * g.numbers() + tap * width + channel);
  for (int64_t i = 0; i < count; i += kLanes) {
    F32 total = F32::load(sums + i);
    for (int64_t split = 1; split < splits; split++)
      total += F32::load(sums + split * splitStep + i);
    gemm::storeElements(to + i, total, int(smaller(kLanes, count - i)));
  }
}

/// Writes a part from sums that are complete.
inline void writePart(const GradientWork& g, const GradientTables& tables, const GradientPart& part,
                      const float* sums) {
  for (int64_t row = 0; row < part.rows; row++, sums += g.partColumns * kTileSums) {
    const int64_t first = (part.row + row) * kSide;
    for (int64_t i = 0; i < smaller(kSide, g.groupOut - first); i++)
      for (int64_t column = 0; column < part.columns; column++)
        writeSums(g, tables, part.group * g.groupOut + first + i, part.column + column,
                  sums + column * kTileSums + i * kSide, 1, 0);
  }
}

/// Adds the splits in order and writes the results of `kept` sums.
inline void writeKept(const GradientWork& g, const GradientTables& tables, Context& context,
                      const float* kept) {
  context.parallelFor(g.groups * g.groupOut, 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t output = begin; output < end; output++) {
      const int64_t group = output / g.groupOut, channel = output % g.groupOut;
      for (int64_t column = 0; column < g.columnTiles; column++)
        writeSums(g, tables, output, column,
                  kept + sumsOf(g, group, channel / kSide, column) + channel % kSide * kSide,
                  g.splits, g.parts() * g.partSums());
    }
  });
}

/// Calls lines(bundle, row) for the rows of places of the first `count` bundles of a chunk, and
/// bands(bundle, row) for those of their bands in dy, on all workers, or without a context on this.
template <class Lines, class Bands>
inline void forRows(const GradientWork& g, Context* context, int64_t count, Lines&& lines,
                    Bands&& bands) {
  /// Rows of less than so many lines are done several at a time.
  constexpr int64_t kLeastLines = 1024;
  const int64_t each = g.rows.size() + g.bandRows;
  const auto some = [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t bundle = i / each, row = i % each;
      if (row < g.rows.size())
        lines(bundle, row);
      else
        bands(bundle, row - g.rows.size());
    }
  };
  if (context)
    context->parallelFor(count * each, ceilDiv(kLeastLines, g.groups * g.blocks * g.rowLines()),
                         some);
  else
    some(0, count * each, 0);
}

/// The sums of a call: those of all splits, or where none are kept, of a part for each worker.
struct GradientSums {
  float *kept, *own;
  static GradientSums take(Carver& carver, const GradientWork& g, int threads) {
    GradientSums s;
    s.kept = carver.take<float>(g.keptSums());
    s.own = carver.take<float>(g.keepsSums() ? 0 : threads * g.partSums());
    return s;
  }
};

/// Sums bundles that each worker packs for itself.
template <class Pack, class Sum>
inline void runApart(const GradientWork& g, Context& context, const GradientSums& s, Pack&& pack,
                     Sum&& sum) {
  const int64_t splitBundles = g.splitSteps / g.bundleSteps();
  context.parallelFor(g.splits, 1, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t split = begin; split < end; split++) {
      const int64_t first = split * splitBundles;
      for (int64_t bundle = first; bundle < smaller(first + splitBundles, g.bundles); bundle++) {
        pack(nullptr, worker, bundle, 1);
        for (int64_t part = 0; part < g.parts(); part++)
          sum(worker, GradientPart(g, part), 0, g.bundleSteps(), bundle == first,
              s.kept + (split * g.parts() + part) * g.partSums());
      }
    }
  });
}

/// Sums chunks that all workers pack.
template <class Pack, class Sum>
inline void runTogether(const GradientWork& g, const GradientTables& tables, Context& context,
                        const GradientSums& s, Pack&& pack, Sum&& sum) {
  for (int64_t chunk = 0; chunk < g.chunks; chunk++) {
    const int64_t firstBundle = chunk * g.chunkBundles;
    const int64_t bundles = smaller(g.chunkBundles, g.bundles - firstBundle);
    pack(&context, 0, firstBundle, bundles);
    context.parallelFor(g.splits * g.parts(), 1, [&](int64_t begin, int64_t end, int worker) {
      for (int64_t i = begin; i < end; i++) {
        const GradientPart part(g, i % g.parts());
        const int64_t from = i / g.parts() * g.splitSteps;
        const int64_t to = smaller(from + g.splitSteps, bundles * g.bundleSteps());
        float* sums = g.keepsSums() ? s.kept + i * g.partSums() : s.own + worker * g.partSums();
        sum(0, part, from, to, chunk == 0, sums);
        if (!g.keepsSums()) writePart(g, tables, part, sums);
      }
    });
  }
}

/// Makes the result. pack(context, copy, firstBundle, bundles) packs a chunk into a copy of the
/// memory for packed factors, of which there are `copies`, on all workers or where context is null
/// on this one; sum(copy, part, begin, end, first, sums) adds steps of the chunk to sums of a part.
template <class Pack, class Sum>
inline void runGradient(const GradientWork& g, const GradientTables& tables, Context& context,
                        const GradientSums& s, Pack&& pack, Sum&& sum) {
  if (g.apart)
    runApart(g, context, s, pack, sum);
  else
    runTogether(g, tables, context, s, pack, sum);
  if (g.keepsSums()) writeKept(g, tables, context, s.kept);
}

}  // namespace figment::FIGMENT_ISA::tiles
