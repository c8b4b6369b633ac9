// matmul of bf16 factors on matrix tiles. A unit of work is a part of the result whose columns of B
// share the second-level cache, for as many rows as there are. They are packed once, in panels of
// kBlock: by the unit, or ahead of all units where several have the same columns. Rows pass them
// kBlock at a time. A cut of these along K stays in the first-level cache, copied to lie together
// where it does not in memory, while columns stream past it, and the next rows are fetched
// meanwhile from wherever they are. Few rows by kept columns take another way (few_rows.inl.h).
#pragma once

#include "kernels/matmul/few_rows.inl.h"
#include "kernels/packing.h"

namespace figment::FIGMENT_ISA::tiles {

/// Steps along K that are summed at a time. Rows of a cut and a block of sums share the first-level
/// cache, which columns pass by; else these too. One cut saves taking sums up again, and may be
/// larger.
constexpr int64_t kOnlyCut = 20, kCut = 16, kOnlySharedCut = 10, kSharedCut = 8;
/// Columns that are so few meet the next rows soon, and share the cache with them.
constexpr int64_t kFewColumns = 64;
/// Panels and steps along K that are packed as one piece of work.
constexpr int64_t kPackedPanels = 8, kPackedSteps = 8;

/// Whether columns pass the first-level cache by: not where rows are transposed for each cut, which
/// is better done for less of K.
inline bool streams(const Product& g) { return !g.p.transA && g.n > kFewColumns; }
inline int64_t cutSteps(const Product& g, int64_t steps) {
  if (steps <= (streams(g) ? kOnlyCut : kOnlySharedCut)) return steps;
  return ceilDiv(steps, ceilDiv(steps, streams(g) ? kCut : kSharedCut));
}

/// The rows behind those of a block, to be fetched while `panels` panels of columns pass it.
struct RowsAhead {
  const uint16_t* data;
  int64_t lines, lower, next, during;

  RowsAhead(const Product& g, int64_t batch, int64_t row, int64_t k, int64_t panels)
      : data(g.a + batch * g.p.batchStrideA + (g.p.transA ? k * g.m + row : row * g.p.k + k)),
        lines(row >= g.m   ? 0
              : g.p.transA ? kTileDepth
                           : kBlock),
        lower(g.p.transA ? g.m : g.p.k),
        next(g.p.transA ? kTileDepth * g.m : kTileDepth),
        during(ceilDiv(lines, panels)) {}
  /// Those of the next panel.
  Ahead take() {
    const Ahead ahead = {data, smaller(during, lines), lower, next};
    data += during * lower;
    lines -= ahead.lines;
    return ahead;
  }
};

/// The memory of one worker.
struct ProductScratch {
  uint16_t* rows;       ///< kBlock of a cut
  uint16_t* columns;    ///< packed panels of a part of K, where units pack B
  float* sums;          ///< of a block
  ColumnFloats floats;  ///< of a unit's columns
  float* kept;          ///< sums of kBlock rows, or of all where several parts of K are added

  static ProductScratch take(Carver& carver, const Product& g) {
    ProductScratch s;
    s.rows = carver.take<uint16_t>(kOnlyCut * kPair);
    s.columns =
        carver.take<uint16_t>(g.packsInUnits() ? g.unit.columns / kBlock * g.partSteps * kPair : 0);
    s.sums = carver.take<float>(kBlockSums);
    s.floats = g.epilogue.take(carver, g.unit.columns);
    s.kept = carver.take<float>((g.steps > g.partSteps ? ceilDiv(g.unit.rows, kBlock) : 1) *
                                kBlock * g.unit.columns);
    return s;
  }
};

/// `packedB` is null where the unit packs its columns.
template <class Tiles>
inline void runUnit(const OpCall& call, const Product& g, Tiles& tiles, const uint16_t* packedB,
                    int64_t index, const ProductScratch& s) {
  const UnitPart at(g.unit, index, g.m, g.n);
  const int64_t batch = at.batch, firstPanel = at.column / kBlock;
  const int64_t panels = ceilDiv(at.columns, kBlock);
  widenColumns(s.floats, g.p, g.epilogue, at.column, at.columns);
  const RowResults out = resultsOf(call, batch * g.m + at.row, at.column, at.columns, s.floats);
  const auto finish = [out](int64_t i, int64_t end, int64_t j, const float* sums) {
    out.store<Tiles>(i, end, j, sums);
  };
  Beside beside(finish);
  for (int64_t part = 0; part < g.steps; part += g.partSteps) {
    const int64_t partSteps = smaller(g.partSteps, g.steps - part);
    const int64_t partDepth = smaller(partSteps * kTileDepth, g.p.k - part * kTileDepth);
    const uint16_t* columns = s.columns;
    int64_t panelStep = partSteps * kPair;
    if (packedB) {
      columns = packedB + ((g.batchesB == 1 ? 0 : batch) * g.panels + firstPanel) * g.panelSize() +
                part * kPair;
      panelStep = g.panelSize();
    } else {
      for (int64_t panel = 0; panel < panels; panel += kPackedPanels)
        g.packPanels(batch, firstPanel + panel, firstPanel + smaller(panel + kPackedPanels, panels),
                     part * kTileDepth, part * kTileDepth + partDepth,
                     s.columns + panel * panelStep, panelStep);
    }
    const int64_t most = cutSteps(g, partSteps);
    for (int64_t i = 0; i < at.rows; i += kBlock) {
      const int64_t end = smaller(i + kBlock, at.rows);
      const bool inPlace = g.inPlace() && end == i + kBlock;
      float* kept = s.kept + (g.partSteps < g.steps ? i * panels * kBlock : 0);
      for (int64_t cut = 0; cut < partSteps; cut += most) {
        const int64_t steps = smaller(most, partSteps - cut), k = (part + cut) * kTileDepth;
        const bool first = k == 0, last = part + cut + steps == g.steps;
        if (!inPlace)
          g.packRows(batch, at.row + i, k, smaller(steps * kTileDepth, g.p.k - k), s.rows);
        const RowTiles rows =
            inPlace ? RowTiles::inPlace(g.a + batch * g.p.batchStrideA + (at.row + i) * g.p.k + k,
                                        g.p.k)
                    : RowTiles::packed(s.rows);
        RowsAhead ahead(g, batch, at.row + i + kBlock, k, panels);
        for (int64_t panel = 0; panel < panels; panel++) {
          float* sums = kept + panel * kBlockSums;
          const auto sum = [&]<bool kStream>() {
            sumBlock<kStream>(tiles, rows, end - i, columns + panel * panelStep + cut * kPair,
                              at.columns - panel * kBlock, steps, first ? nullptr : sums,
                              ahead.take(), beside);
          };
          if (streams(g))
            sum.template operator()<true>();
          else
            sum.template operator()<false>();
          beside.next(i, last ? end : i, panel * kBlock, last ? s.sums : sums, true);
        }
      }
    }
  }
  beside.store(tiles);
  beside.finishRows(kBlock);
}

inline size_t productScratch(const OpCall& call, int threads) {
  const Product g(call, threads);
  Carver carver(nullptr);
  for (int i = 0; i < threads; i++) ProductScratch::take(carver, g);
  if (!g.packsInUnits()) carver.take<uint16_t>(g.packedNumbers());
  return FewRows::takes(g) ? larger(carver.used(), FewRows(g, threads).scratch()) : carver.used();
}

inline void packB(const Product& g, uint16_t* packed, Context& context) {
  const int64_t across = ceilDiv(g.panels, kPackedPanels), along = ceilDiv(g.steps, kPackedSteps);
  context.parallelFor(g.batchesB * across * along, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t batch = i / along / across, panel = i / along % across * kPackedPanels;
      const int64_t step = i % along * kPackedSteps;
      g.packPanels(batch, panel, smaller(panel + kPackedPanels, g.panels), step * kTileDepth,
                   smaller((step + kPackedSteps) * kTileDepth, g.p.k),
                   packed + (batch * g.panels + panel) * g.panelSize() + step * kPair,
                   g.panelSize());
    }
  });
}

/// B packed ahead of the call: panels that few rows meet.
inline Packing productPacking(const OpCall& call) {
  const Product g(call, 1);
  if (g.batchesB > 1 || g.batch * g.m > kKeptRows) return {};
  return {1, size_t(g.packedNumbers()) * sizeof(uint16_t), {g.p.n, g.p.k, g.p.transB, g.gated}};
}
inline void packProduct(const OpCall& call, std::byte* to, Context& context) {
  packB(Product(call, 1), reinterpret_cast<uint16_t*>(to), context);
}

template <class Tiles>
inline void runProduct(const OpCall& call, Context& context) {
  const Product g(call, context.threads());
  auto* packed = reinterpret_cast<const uint16_t*>(packedOperand(context));
  if (packed && FewRows::takes(g))
    return FewRows(g, context.threads()).template run<Tiles>(call, packed, context);
  Carver measure(nullptr);
  ProductScratch::take(measure, g);
  const size_t workerBytes = measure.used();
  std::byte* workers = context.scratch();
  if (!packed && !g.packsInUnits()) {
    auto* own = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
    packB(g, own, context);
    packed = own;
  }
  context.parallelFor(g.units(), 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    Carver carver(workers + size_t(worker) * workerBytes);
    const ProductScratch mine = ProductScratch::take(carver, g);
    for (int64_t unit = begin; unit < end; unit++) runUnit(call, g, tiles, packed, unit, mine);
  });
}

/// Products of bf16 factors that are not empty; the results may be of any format.
inline bool takesProduct(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 && p.batch > 0 &&
         p.m > 0 && p.n > 0 && p.k > 0;
}

/// Whether tiles are faster than AVX-512: few rows, columns or steps fill them badly, but packing
/// bf16 costs less than widening it to f32. Both take .3 µs for 16×16×16.
inline bool fillsProduct(const OpCall& call) {
  constexpr double kLeastTerms = 16 * 16 * 16;
  const auto& p = call.as<MatmulParams>();
  return double(rowsTogether(p)) * double(p.n) * double(p.k) > kLeastTerms;
}

template <class Tiles>
constexpr Variant productOn() {
  return {"matmul",       Tiles::kName,
          Tiles::kIsa,    Tiles::template supports<takesProduct, fillsProduct>,
          productScratch, runProduct<Tiles>};
}

template <class Tiles>
constexpr Packer productPacker() {
  return {"matmul", Tiles::kName, productPacking, packProduct};
}

}  // namespace figment::FIGMENT_ISA::tiles
