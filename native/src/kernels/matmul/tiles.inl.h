// matmul of bf16 factors on matrix tiles. B is packed once, in panels of kBlock columns: where one
// unit has all rows that meet a panel, by that unit, a cut of K at a time, else ahead of all units.
// Rows of A are read in place where tiles can load them, else packed by the unit that needs them,
// one cut at a time. A unit is a part of the result whose rows of one cut, and sums where there are
// several cuts, share the second-level cache.
#pragma once

#include "kernels/gemm/matrix_tiles_blocks.inl.h"
#include "kernels/kernel.h"
#include "kernels/packing.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::tiles {

/// Most rows and columns of a unit whose rows are read in place, and of others, which pack them.
constexpr int64_t kMostRows = 512, kMostColumns = 512;
constexpr int64_t kMostPackedRows = 256, kColumnsOfPacked = 1024;
/// A cut of K is at most this deep: columns of a cut, the rows that pass them, and two blocks of
/// sums share the first-level cache.
constexpr int64_t kProductCut = 384;
/// Panels and steps along K that are packed as one piece of work.
constexpr int64_t kPackedPanels = 4, kPackedSteps = 8;

struct Product {
  const MatmulParams& p;
  const uint16_t *a, *b;
  int64_t batch, m, batchesB, panels, steps, cutSteps;
  UnitPlan unit;

  Product(const OpCall& call, int threads)
      : p(call.as<MatmulParams>()),
        a(call.in[0].as<const uint16_t>()),
        b(call.in[1].as<const uint16_t>()),
        batch(sharesB() ? 1 : p.batch),
        m(sharesB() ? p.batch * p.m : p.m),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch),
        panels(ceilDiv(p.n, kBlock)),
        steps(ceilDiv(p.k, kTileDepth)),
        cutSteps(ceilDiv(steps, ceilDiv(p.k, kProductCut))),
        unit(m, p.n, batch, threads, wholeLines() ? kMostRows : kMostPackedRows,
             wholeLines() ? kMostColumns : kColumnsOfPacked) {}
  /// One B for all products of a batch: then the batch is just more rows.
  bool sharesB() const { return !p.transA && p.batchStrideB == 0 && p.batchStrideA != 0; }
  int64_t units() const { return batch * unit.rowUnits * unit.columnUnits; }
  int64_t panelSize() const { return steps * kPair; }
  int64_t packedNumbers() const { return batchesB * panels * panelSize(); }
  /// Whether rows of A are made of lines of tiles. Then tiles load them in place, but for lines
  /// that would cross those of the cache.
  bool wholeLines() const { return !p.transA && p.k % kTileDepth == 0; }
  bool inPlace() const { return wholeLines() && reinterpret_cast<uintptr_t>(a) % kRowBytes == 0; }
  /// Whether each panel of B is of use to one unit alone.
  bool packsInUnits() const { return unit.rowUnits == 1 && batchesB == batch; }

  /// Packs a piece of B: panels [first, last), `panelStep` numbers apart, for a range of K. Panels
  /// side by side share what a row of B brings into the caches.
  void packPanels(int64_t batch, int64_t first, int64_t last, int64_t begin, int64_t end,
                  uint16_t* to, int64_t panelStep) const {
    const uint16_t* from = b + batch * p.batchStrideB;
    for (int64_t k = begin; k < end; k += kTileDepth, to += kPair) {
      for (int64_t panel = first; panel < last; panel++) {
        const int64_t column = panel * kBlock, columns = smaller(kBlock, p.n - column);
        const int64_t depth = smaller(kTileDepth, end - k);
        uint16_t* at = to + (panel - first) * panelStep;
        if (p.transB)
          transposeColumns(at, from + column * p.k + k, p.k, columns, depth);
        else
          interleaveColumns(at, from + k * p.n + column, p.n, columns, depth);
      }
    }
  }
  /// Packs up to kBlock rows of A for a cut of K.
  void packRows(int64_t batch, int64_t row, int64_t k, int64_t depth, uint16_t* to) const {
    const uint16_t* from = a + batch * p.batchStrideA;
    const int64_t rows = smaller(kBlock, m - row);
    if (p.transA)
      transposeRows(to, from + k * m + row, m, rows, depth);
    else
      copyRows(to, from + row * p.k + k, p.k, rows, depth);
  }
};

/// The memory of one worker.
struct ProductScratch {
  uint16_t* rows;     ///< packed blocks of a cut
  uint16_t* columns;  ///< packed panels of a cut side by side, where units pack B
  float* sums;        ///< of two blocks
  float* unit;        ///< sums of all blocks, where several cuts are added

  static ProductScratch take(Carver& carver, const Product& g) {
    ProductScratch s;
    s.rows = carver.take<uint16_t>(g.unit.rows / kBlock * g.cutSteps * kPair);
    s.columns = carver.take<uint16_t>(g.packsInUnits() ? kPackedPanels * g.cutSteps * kPair : 0);
    s.sums = carver.take<float>(2 * kBlockSums);
    s.unit = carver.take<float>(g.steps > g.cutSteps ? g.unit.rows * g.unit.columns : 0);
    return s;
  }
};

/// `packedB` is null where the unit packs its columns.
template <class Tiles>
inline void runUnit(const OpCall& call, const Product& g, Tiles& tiles, const uint16_t* packedB,
                    int64_t index, const ProductScratch& s) {
  const UnitPart at(g.unit, index, g.m, g.p.n);
  const int64_t rows = at.rows, rowBlocks = ceilDiv(rows, kBlock), batch = at.batch;
  const Elements bias = g.p.bias ? Elements::of(call.in[2]) + at.column : Elements{};
  const Results out = Results::of(call.out[0]) + ((batch * g.m + at.row) * g.p.n + at.column);
  const uint16_t* a = g.a + batch * g.p.batchStrideA + at.row * g.p.k;
  const int64_t firstPanel = at.column / kBlock, panels = ceilDiv(at.columns, kBlock);
  for (int64_t step = 0; step < g.steps; step += g.cutSteps) {
    const int64_t blocks = smaller(g.cutSteps, g.steps - step), k = step * kTileDepth;
    const int64_t depth = smaller(blocks * kTileDepth, g.p.k - k);
    const bool first = step == 0, last = step + blocks == g.steps;
    const auto packedRows = [&](int64_t i) { return s.rows + i / kBlock * blocks * kPair; };
    for (int64_t i = g.inPlace() ? rows / kBlock * kBlock : 0; i < rows; i += kBlock)
      g.packRows(batch, at.row + i, k, depth, packedRows(i));
    const auto columns = [&](int64_t i, int64_t j) -> const uint16_t* {
      const int64_t panel = firstPanel + j / kBlock;
      if (packedB)
        return packedB + ((g.batchesB == 1 ? 0 : batch) * g.panels + panel) * g.panelSize() +
               step * kPair;
      const int64_t inGroup = j / kBlock % kPackedPanels, panelStep = blocks * kPair;
      if (i == 0 && inGroup == 0)
        g.packPanels(batch, panel, smaller(panel + kPackedPanels, firstPanel + panels), k,
                     k + depth, s.columns, panelStep);
      return s.columns + inGroup * panelStep;
    };
    forBlocks(
        tiles, rows, at.columns, s.sums,
        [&](int64_t i, int64_t j, float*, auto& beside) {
          const RowTiles rowTiles = g.inPlace() && i + kBlock <= rows
                                        ? RowTiles::inPlace(a + i * g.p.k + k, g.p.k)
                                        : RowTiles::packed(packedRows(i));
          sumBlock(tiles, rowTiles, rows - i, columns(i, j), at.columns - j, blocks, beside);
          return true;
        },
        [&](int64_t i, int64_t j, float* sums) {
          float* unit =
              s.unit + (j / kBlock * rowBlocks + i / kBlock) * kBlockSums + i % kBlock * kBlock;
          if (!first)
            for (int64_t x = 0; x < kBlock; x += kLanes)
              (F32::load(unit + x) + F32::load(sums + x)).store(last ? sums + x : unit + x);
          else if (!last)
            gemm::copyFloats(unit, sums, kBlock);
          if (last)
            storeRow(out + (i * g.p.n + j), sums, smaller(kBlock, at.columns - j),
                     bias.given() ? bias + j : bias, g.p.activation);
        });
  }
}

inline size_t productScratch(const OpCall& call, int threads) {
  const Product g(call, threads);
  Carver carver(nullptr);
  for (int i = 0; i < threads; i++) ProductScratch::take(carver, g);
  if (!g.packsInUnits()) carver.take<uint16_t>(g.packedNumbers());
  return carver.used();
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
  return {1, size_t(g.packedNumbers()) * sizeof(uint16_t), {g.p.n, g.p.k, g.p.transB}};
}
inline void packProduct(const OpCall& call, std::byte* to, Context& context) {
  packB(Product(call, 1), reinterpret_cast<uint16_t*>(to), context);
}

template <class Tiles>
inline void runProduct(const OpCall& call, Context& context) {
  const Product g(call, context.threads());
  Carver measure(nullptr);
  ProductScratch::take(measure, g);
  const size_t workerBytes = measure.used();
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<const uint16_t*>(packedOperand(context));
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

/// Whether tiles are filled well enough to repay the packing.
inline bool fillsProduct(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return p.m >= kLeastRows && p.n >= kLeastRows && p.k >= kLeastDepth;
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
