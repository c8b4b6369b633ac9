// matmul of bf16 factors on matrix tiles. Both factors are packed: B once, A by the unit that needs
// it, one cut of K at a time, which stays in the L2 cache.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/kernel.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::tiles {

struct Product {
  const MatmulParams& p;
  const uint16_t *a, *b;
  int64_t panels, rowUnits, columnUnits, batchesB;

  explicit Product(const OpCall& call)
      : p(call.as<MatmulParams>()),
        a(call.in[0].as<const uint16_t>()),
        b(call.in[1].as<const uint16_t>()),
        panels(ceilDiv(p.n, kBlock)),
        rowUnits(ceilDiv(p.m, kUnitRows)),
        columnUnits(ceilDiv(p.n, kUnitColumns)),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch) {}
  int64_t panelSize() const { return packedSize(p.k); }

  /// Packs kBlock columns of B in all their depth.
  void packPanel(int64_t batch, int64_t panel, uint16_t* to) const {
    const int64_t stepK = p.transB ? 1 : p.n, stepN = p.transB ? p.k : 1;
    const int64_t column = panel * kBlock;
    packColumns(to, b + batch * p.batchStrideB + column * stepN, stepN, stepK,
                smaller(kBlock, p.n - column), p.k);
  }
  /// Packs kBlock rows of A for a cut of K.
  void packCut(int64_t batch, int64_t row, int64_t k, int64_t depth, uint16_t* to) const {
    const int64_t stepM = p.transA ? 1 : p.k, stepK = p.transA ? p.m : 1;
    packRows(to, a + batch * p.batchStrideA + row * stepM + k * stepK, stepM, stepK,
             smaller(kBlock, p.m - row), depth);
  }
};

template <class Tiles>
inline void runUnit(const OpCall& call, const Product& g, Tiles& tiles, const uint16_t* packedB,
                    int64_t unit, const UnitScratch& s) {
  const int64_t columnUnit = unit % g.columnUnits, rowUnit = unit / g.columnUnits % g.rowUnits;
  const int64_t batch = unit / g.columnUnits / g.rowUnits;
  const int64_t row = rowUnit * kUnitRows, rows = smaller(kUnitRows, g.p.m - row);
  const int64_t column = columnUnit * kUnitColumns, columns = smaller(kUnitColumns, g.p.n - column);
  const uint16_t* b =
      packedB + ((g.batchesB == 1 ? 0 : batch) * g.panels + column / kBlock) * g.panelSize();
  for (int64_t k = 0; k < g.p.k; k += kCut) {
    const int64_t depth = smaller(kCut, g.p.k - k);
    for (int64_t i = 0; i < rows; i += kBlock)
      g.packCut(batch, row + i, k, depth, s.rows + i * kCut);
    multiplyUnit(tiles, s.rows, rows, b + packedSize(k), g.panelSize(), columns,
                 ceilDiv(depth, kTileDepth), k == 0, s.sums);
  }
  const Elements bias = g.p.bias ? Elements::of(call.in[2]) + column : Elements{};
  const Results out = Results::of(call.out[0]) + ((batch * g.p.m + row) * g.p.n + column);
  for (int64_t i = 0; i < rows; i++)
    storeRow(out + i * g.p.n, s.sums + i * kUnitColumns, columns, bias, g.p.activation);
}

inline size_t productScratch(const OpCall& call, int threads) {
  const Product g(call);
  return size_t(g.batchesB * g.panels * g.panelSize()) * sizeof(uint16_t) +
         size_t(threads) * UnitScratch::bytes(false);
}

template <class Tiles>
inline void runProduct(const OpCall& call, Context& context) {
  const Product g(call);
  const size_t workerBytes = UnitScratch::bytes(false);
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * workerBytes);
  context.parallelFor(g.batchesB * g.panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      g.packPanel(i / g.panels, i % g.panels, packed + i * g.panelSize());
  });
  context.parallelFor(g.p.batch * g.rowUnits * g.columnUnits, 1,
                      [&](int64_t begin, int64_t end, int worker) {
                        Tiles tiles;
                        Carver carver(workers + size_t(worker) * workerBytes);
                        const UnitScratch mine = UnitScratch::take(carver, false);
                        for (int64_t unit = begin; unit < end; unit++)
                          runUnit(call, g, tiles, packed, unit, mine);
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

}  // namespace figment::FIGMENT_ISA::tiles
