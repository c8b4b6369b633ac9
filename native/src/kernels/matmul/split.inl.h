// matmul of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h). B is split once:
// where one unit has all rows that meet a panel, by that unit, else ahead of all units. A is split
// by the unit that needs it, one cut of K at a time; units are as wide as the second-level cache
// allows, so that most products split A once too, but for few rows, which all units have. Include
// only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/split_tiles.inl.h"
#include "kernels/kernel.h"
#include "kernels/matmul/rows.inl.h"
#include "kernels/packing.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::split {

/// Most rows of a unit, and columns if their sums are kept from one cut to the next.
constexpr int64_t kMostRows = 256, kMostColumns = 1024;
/// Where B is to be split, up to so many rows, no more than there are columns, are in each unit:
/// splitting them again is less than to bring panels of B from the cache of the thread that split
/// them.
constexpr int64_t kFewRows = 256, kFewestColumns = 64;

struct Product {
  const OpCall& call;
  const MatmulParams& p;
  Elements a, b;
  tiles::Epilogue epilogue;
  Parts parts;
  int64_t n;  ///< columns of panels
  int64_t batch, m, panels, cuts, batchesB;
  int64_t cut;  ///< numbers of K that are split and summed at a time
  tiles::UnitPlan unit;

  /// `keptB`: B has been split before.
  Product(const OpCall& call, int threads, bool keptB)
      : call(call),
        p(call.as<MatmulParams>()),
        a(Elements::of(call.in[0])),
        b(Elements::of(call.in[1])),
        epilogue(tiles::Epilogue::of<MatmulParams>(call)),
        parts(Parts::of(a.format, b.format, p.precision == kFast)),
        n(tiles::packedColumns(p)),
        batch(tiles::sharesB(p) ? 1 : p.batch),
        m(tiles::rowsTogether(p)),
        panels(ceilDiv(n, kBlock)),
        cuts(ceilDiv(p.k, kCut)),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch),
        cut(ceilDiv(ceilDiv(p.k, kTileDepth), cuts) * kTileDepth),
        unit(planOf(ceilDiv(threads, batch), keptB)) {}

  tiles::UnitPlan planOf(int64_t threads, bool keptB) const {
    const int64_t mostColumns = cuts == 1 ? n : kMostColumns;
    if (keptB || m > kFewRows || m > n)
      return tiles::UnitPlan::byRows(m, n, threads, kMostRows, mostColumns);
    return {m, n, 1, tiles::unitsOf(n, threads, mostColumns, kFewestColumns)};
  }
  int64_t panelSize() const { return parts.columns * tiles::packedSize(p.k); }
  int64_t units() const { return batch * unit.rowUnits * unit.columnUnits; }
  /// Whether each panel of B is of use to one unit alone.
  bool packsInUnits() const { return unit.rowUnits == 1 && batchesB == batch; }

  /// Splits kBlock columns of B for a cut of K.
  [[gnu::noinline]] Scale packColumns(int64_t batch, int64_t panel, int64_t k, float* raw,
                                      uint16_t* to) const {
    const int64_t depth = smaller(cut, p.k - k), blocks = ceilDiv(depth, kTileDepth);
    const Elements from = b + batch * p.batchStrideB;
    const tiles::TileColumns left(p, panel, 0), right(p, panel, 1);
    const int64_t columns = left.count + right.count;
    // Columns that are neighbours are copied at once.
    const bool apart = p.activation == kGeglu;
    const int64_t together = apart ? left.count : columns;
    Measured measured;
    if (columns < kBlock || depth < blocks * kTileDepth)
      gemm::zeroFloats(raw, blocks * kTileDepth * kBlock);
    const auto copy = [&](float* to, int64_t column, int64_t count) {
      if (p.transB) return transposeRaw(to, kBlock, from + (column * p.k + k), p.k, count, depth);
      for (int64_t i = 0; i < depth; i++)
        copyMeasured(to + i * kBlock, from + ((k + i) * p.n + column), count, measured);
    };
    copy(raw, left.first, together);
    if (apart) copy(raw + tiles::kSide, right.first, right.count);
    if (p.transB) measure(raw, blocks * kTileDepth * kBlock, measured);
    return packPanel<Side::columns>(to, raw, measured, parts.columns, blocks);
  }
  /// Splits kBlock rows of A for a cut of K.
  [[gnu::noinline]] Scale packRows(int64_t batch, int64_t row, int64_t k, float* raw,
                                   uint16_t* to) const {
    const int64_t rows = smaller(kBlock, m - row), depth = smaller(cut, p.k - k);
    const int64_t blocks = ceilDiv(depth, kTileDepth), step = blocks * kTileDepth;
    const Elements from = a + batch * p.batchStrideA;
    Measured measured;
    if (rows < kBlock || depth < step) gemm::zeroFloats(raw, step * kBlock);
    if (p.transA)
      transposeRaw(raw, step, from + (k * m + row), m, depth, rows);
    else
      for (int64_t i = 0; i < rows; i++)
        copyMeasured(raw + i * step, from + ((row + i) * p.k + k), depth, measured);
    if (p.transA) measure(raw, step * kBlock, measured);
    return packPanel<Side::rows>(to, raw, measured, parts.rows, blocks);
  }
};

/// B, split: panels of all their depth, with a scale for each cut.
struct PackedB {
  Scale* scales;
  uint16_t* data;
  static PackedB take(Carver& carver, const Product& g) {
    PackedB b;
    b.scales = carver.take<Scale>(g.batchesB * g.panels * g.cuts);
    b.data = carver.take<uint16_t>(g.batchesB * g.panels * g.panelSize());
    return b;
  }
};

/// The memory of one worker.
struct ProductScratch : PanelScratch {
  uint16_t* rows;  ///< panels of a cut, kPanel apart
  Scale* rowScales;
  uint16_t* columns;           ///< a panel of a cut, where units split B
  tiles::ColumnFloats floats;  ///< of a unit's columns
  float* unit;                 ///< sums of all blocks, where several cuts are added

  static ProductScratch take(Carver& carver, const Product& g) {
    ProductScratch s;
    static_cast<PanelScratch&>(s) = PanelScratch::take(carver);
    s.rows = carver.take<uint16_t>(g.unit.rows / kBlock * kPanel);
    s.rowScales = carver.take<Scale>(g.unit.rows / kBlock);
    s.columns = carver.take<uint16_t>(g.packsInUnits() ? kPanel : 0);
    s.floats = g.epilogue.take(carver, g.unit.columns);
    s.unit = carver.take<float>(g.cuts > 1 ? g.unit.rows * g.unit.columns : 0);
    return s;
  }
};

/// Answers how many blocks did not run on tiles. There is no `packed` data where the unit splits
/// its columns.
template <class Tiles>
inline int64_t runUnit(const Product& g, Tiles& tiles, const PackedB& packed, int64_t index,
                       const ProductScratch& s) {
  const tiles::UnitPart at(g.unit, index, g.m, g.n);
  const int64_t firstPanel = at.column / kBlock;
  const int64_t inBatch = (g.batchesB == 1 ? 0 : at.batch) * g.panels;
  const int64_t rowBlocks = ceilDiv(at.rows, kBlock);
  tiles::widenColumns(s.floats, g.p, g.epilogue, at.column, at.columns);
  const tiles::RowResults out =
      tiles::resultsOf(g.call, at.batch * g.m + at.row, at.column, at.columns, s.floats);
  Panel own = {s.columns, {}};
  int64_t plain = 0;
  for (int64_t cut = 0; cut < g.cuts; cut++) {
    const int64_t k = cut * g.cut;
    for (int64_t i = 0; i < rowBlocks; i++)
      s.rowScales[i] = g.packRows(at.batch, at.row + i * kBlock, k, s.raw, s.rows + i * kPanel);
    const auto panelOfRows = [&](int64_t i) -> Panel {
      return {s.rows + i / kBlock * kPanel, s.rowScales[i / kBlock]};
    };
    const auto columns = [&](int64_t i, int64_t j) -> Panel {
      const int64_t panel = firstPanel + j / kBlock;
      if (packed.data) {
        const int64_t at = inBatch + panel;
        const uint16_t* data =
            packed.data + at * g.panelSize() + g.parts.columns * tiles::packedSize(k);
        const int64_t lines =
            g.parts.columns * tiles::packedSize(smaller(g.cut, g.p.k - k)) / kTileDepth;
        const int64_t block = i / kBlock, first = lines * block / rowBlocks;
        return {
            data,
            packed.scales[at * g.cuts + cut],
            {data + g.panelSize() + first * kTileDepth, lines * (block + 1) / rowBlocks - first}};
      }
      if (i == 0) own.scale = g.packColumns(at.batch, panel, k, s.raw, s.columns);
      return own;
    };
    const bool first = cut == 0, last = cut == g.cuts - 1;
    plain +=
        sumUnit(tiles, g.parts.most, s, at.rows, panelOfRows, at.columns, columns,
                smaller(g.cut, g.p.k - k),
                [&](int64_t i, int64_t end, int64_t j, float* sums, int exponent) {
                  const PowerOfTwo scaled(exponent);
                  const int64_t count = (end - i) * kBlock;
                  float* unit = s.unit + (j / kBlock * rowBlocks + i / kBlock) * tiles::kBlockSums +
                                i % kBlock * kBlock;
                  for (int64_t x = 0; x < count; x += kLanes) {
                    const F32 sum = scaled(F32::load(sums + x));
                    (first ? sum : F32::load(unit + x) + sum).store(last ? sums + x : unit + x);
                  }
                  if (last) out.store<Tiles>(i, end, j, sums);
                });
  }
  return plain;
}

inline size_t productScratch(const OpCall& call, int threads) {
  size_t most = 0;
  for (const bool keptB : {false, true}) {
    const Product g(call, threads, keptB);
    Carver carver(nullptr);
    if (!keptB && !g.packsInUnits()) PackedB::take(carver, g);
    for (int i = 0; i < threads; i++) ProductScratch::take(carver, g);
    most = size_t(larger(int64_t(most), int64_t(carver.used())));
  }
  return most;
}

/// Splits B, with the memory for a panel that raw(worker) gives.
template <class Raw>
inline void packB(const Product& g, const PackedB& packed, Context& context, Raw&& raw) {
  context.parallelFor(
      g.batchesB * g.panels * g.cuts, 1, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t k = i % g.cuts * g.cut, panel = i / g.cuts;
          packed.scales[i] = g.packColumns(
              panel / g.panels, panel % g.panels, k, raw(worker),
              packed.data + panel * g.panelSize() + g.parts.columns * tiles::packedSize(k));
        }
      });
}

/// B split ahead of the call: panels that few rows meet.
inline Packing productPacking(const OpCall& call) {
  const Product g(call, 1, true);
  if (g.batchesB > 1 || g.batch * g.m > kKeptRows) return {};
  Carver carver(nullptr);
  PackedB::take(carver, g);
  return {
      1,
      carver.used(),
      {g.p.n, g.p.k, g.p.transB, g.parts.columns, int64_t(g.b.format), g.p.activation == kGeglu}};
}
inline void packProduct(const OpCall& call, std::byte* to, Context& context) {
  const Product g(call, context.threads(), true);
  Carver carver(to);
  const PackedB packed = PackedB::take(carver, g);
  packB(g, packed, context, [&](int worker) {
    return reinterpret_cast<float*>(context.scratch()) + worker * kBlock * kCut;
  });
}

template <class Tiles>
inline void runProduct(const OpCall& call, Context& context) {
  const std::byte* ready = packedOperand(context);
  const Product g(call, context.threads(), ready != nullptr);
  Carver carver(context.scratch());
  PackedB packed = {};
  if (!ready && !g.packsInUnits()) packed = PackedB::take(carver, g);
  std::byte* workers = context.scratch() + carver.used();
  Carver measure(nullptr);
  ProductScratch::take(measure, g);
  const auto scratch = [&](int worker) {
    Carver own(workers + size_t(worker) * measure.used());
    return ProductScratch::take(own, g);
  };
  if (ready) {
    Carver kept(const_cast<std::byte*>(ready));  // which is only read
    packed = PackedB::take(kept, g);
  } else if (packed.data) {
    packB(g, packed, context, [&](int worker) { return scratch(worker).raw; });
  }
  context.parallelFor(g.units(), 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    const ProductScratch mine = scratch(worker);
    int64_t plain = 0;
    for (int64_t unit = begin; unit < end; unit++) plain += runUnit(g, tiles, packed, unit, mine);
    countFallbacks(context, plain);
  });
}

/// Products that are not empty of factors in formats of f32 arithmetic; two of bf16 need no
/// splitting.
inline bool takesProduct(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return gemm::tileFormats(call, call.inCount) && needsSplitting(call) && p.batch > 0 && p.m > 0 &&
         p.n > 0 && p.k > 0;
}

inline bool repaysProduct(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return repays(tiles::rowsTogether(p), p.n, p.k, kTileDepth);
}

template <class Tiles>
constexpr Variant productOn(const char* name) {
  return {"matmul",       name,
          Tiles::kIsa,    Tiles::template supports<takesProduct, repaysProduct>,
          productScratch, runProduct<Tiles>};
}

constexpr Packer productPacker(const char* name) {
  return {"matmul", name, productPacking, packProduct};
}

}  // namespace figment::FIGMENT_ISA::split
