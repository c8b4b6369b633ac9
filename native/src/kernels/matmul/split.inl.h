// matmul of f32 factors on bf16 matrix tiles, by splitting (gemm/split.inl.h). B is split once, A
// by the unit that needs it, one cut of K at a time. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/gemm/split_tiles.inl.h"
#include "kernels/kernel.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::split {

struct Product {
  const MatmulParams& p;
  Elements a, b, bias;
  Results out;
  Parts parts;
  int64_t panels, cuts, rowUnits, columnUnits, batchesB;

  explicit Product(const OpCall& call)
      : p(call.as<MatmulParams>()),
        a(Elements::of(call.in[0])),
        b(Elements::of(call.in[1])),
        bias(p.bias ? Elements::of(call.in[2]) : Elements{}),
        out(Results::of(call.out[0])),
        parts(Parts::of(a.format, b.format, p.precision == kFast)),
        panels(ceilDiv(p.n, kBlock)),
        cuts(ceilDiv(p.k, kCut)),
        rowUnits(ceilDiv(p.m, kUnitRows)),
        columnUnits(ceilDiv(p.n, kUnitColumns)),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch) {}
  int64_t panelSize() const { return parts.columns * tiles::packedSize(p.k); }
  int64_t units() const { return p.batch * rowUnits * columnUnits; }

  /// Splits kBlock columns of B for a cut of K.
  Scale packColumns(int64_t batch, int64_t panel, int64_t k, float* raw, uint16_t* to) const {
    const int64_t column = panel * kBlock, columns = smaller(kBlock, p.n - column);
    const int64_t depth = smaller(kCut, p.k - k), blocks = ceilDiv(depth, kTileDepth);
    const Elements from = b + batch * p.batchStrideB;
    gemm::zeroFloats(raw, blocks * kTileDepth * kBlock);
    if (p.transB)
      gemm::transpose(from + (column * p.k + k), p.k, columns, depth, raw, kBlock);
    else
      for (int64_t i = 0; i < depth; i++)
        gemm::widen(raw + i * kBlock, from + ((k + i) * p.n + column), columns);
    return packPanel<Side::columns>(to, raw, parts.columns, blocks);
  }
  /// Splits kBlock rows of A for a cut of K.
  Scale packRows(int64_t batch, int64_t row, int64_t k, float* raw, uint16_t* to) const {
    const int64_t rows = smaller(kBlock, p.m - row), depth = smaller(kCut, p.k - k);
    const int64_t blocks = ceilDiv(depth, kTileDepth), step = blocks * kTileDepth;
    const Elements from = a + batch * p.batchStrideA;
    gemm::zeroFloats(raw, step * kBlock);
    if (p.transA)
      gemm::transpose(from + (k * p.m + row), p.m, depth, rows, raw, step);
    else
      for (int64_t i = 0; i < rows; i++)
        gemm::widen(raw + i * step, from + ((row + i) * p.k + k), depth);
    return packPanel<Side::rows>(to, raw, parts.rows, blocks);
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

/// Answers how many blocks did not run on tiles.
template <class Tiles>
inline int64_t runUnit(const Product& g, Tiles& tiles, const PackedB& packed, int64_t unit,
                       const UnitScratch& s) {
  const int64_t columnUnit = unit % g.columnUnits, rowUnit = unit / g.columnUnits % g.rowUnits;
  const int64_t batch = unit / g.columnUnits / g.rowUnits;
  const int64_t row = rowUnit * kUnitRows, rows = smaller(kUnitRows, g.p.m - row);
  const int64_t column = columnUnit * kUnitColumns, columns = smaller(kUnitColumns, g.p.n - column);
  const int64_t panel = (g.batchesB == 1 ? 0 : batch) * g.panels + column / kBlock;
  int64_t plain = 0;
  for (int64_t cut = 0; cut < g.cuts; cut++) {
    const int64_t k = cut * kCut;
    for (int64_t i = 0; i < rows; i += kBlock)
      s.rowScales[i / kBlock] = g.packRows(batch, row + i, k, s.raw, s.rows + i / kBlock * kPanel);
    const ColumnPanels b = {
        packed.data + panel * g.panelSize() + g.parts.columns * tiles::packedSize(k), g.panelSize(),
        packed.scales + panel * g.cuts + cut, g.cuts};
    plain +=
        multiplyUnit(tiles, g.parts.most, s, rows, b, columns, smaller(kCut, g.p.k - k), cut == 0);
  }
  const Elements bias = g.bias.given() ? g.bias + column : Elements{};
  const Results out = g.out + ((batch * g.p.m + row) * g.p.n + column);
  for (int64_t i = 0; i < rows; i++)
    tiles::storeRow(out + i * g.p.n, s.sums + i * kUnitColumns, columns, bias, g.p.activation);
  return plain;
}

inline size_t productScratch(const OpCall& call, int threads) {
  Carver carver(nullptr);
  PackedB::take(carver, Product(call));
  return carver.used() + size_t(threads) * UnitScratch::bytes(false);
}

template <class Tiles>
inline void runProduct(const OpCall& call, Context& context) {
  const Product g(call);
  Carver carver(context.scratch());
  const PackedB packed = PackedB::take(carver, g);
  std::byte* workers = context.scratch() + carver.used();
  const size_t workerBytes = UnitScratch::bytes(false);
  const auto scratch = [&](int worker) {
    Carver own(workers + size_t(worker) * workerBytes);
    return UnitScratch::take(own, false);
  };
  context.parallelFor(
      g.batchesB * g.panels * g.cuts, 1, [&](int64_t begin, int64_t end, int worker) {
        for (int64_t i = begin; i < end; i++) {
          const int64_t k = i % g.cuts * kCut, panel = i / g.cuts;
          packed.scales[i] = g.packColumns(
              panel / g.panels, panel % g.panels, k, scratch(worker).raw,
              packed.data + panel * g.panelSize() + g.parts.columns * tiles::packedSize(k));
        }
      });
  context.parallelFor(g.units(), 1, [&](int64_t begin, int64_t end, int worker) {
    Tiles tiles;
    const UnitScratch mine = scratch(worker);
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
  return repays(p.m, p.n, p.k);
}

template <class Tiles>
constexpr Variant productOn(const char* name) {
  return {"matmul",       name,
          Tiles::kIsa,    Tiles::template supports<takesProduct, repaysProduct>,
          productScratch, runProduct<Tiles>};
}

}  // namespace figment::FIGMENT_ISA::split
