// What products of bf16 factors on matrix tiles have in common: their shape, how they are divided
// into units of work, and the packing of both factors.
#pragma once

#include "kernels/gemm/matrix_tiles_blocks.inl.h"
#include "kernels/kernel.h"
#include "kernels/matmul/rows.inl.h"
#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::tiles {

/// What a unit takes of K at a time, at most, and numbers of B that it packs: half of the
/// second-level cache. Few rows leave less time between packing and use: less of both. Rows that
/// each unit has to transpose ask for wider units, hence less of K.
constexpr int64_t kMostDepth = 1536, kTransposedDepth = 1024, kColumnNumbers = 512 * 1024;
constexpr int64_t kFewRows = 512, kFewRowsDepth = 512, kFewRowsColumnNumbers = kColumnNumbers / 2;
/// Most rows of a unit whose sums are kept from one such part of K to the next.
constexpr int64_t kMostKeptRows = 2048;
/// Rows of A a multiple of this many numbers apart displace each other in the first-level cache.
/// They are copied if that many columns repay it.
constexpr int64_t kFarRows = 512, kColumnsOfCopied = 128;

struct Product {
  const MatmulParams& p;
  const uint16_t *a, *b;
  Epilogue epilogue;
  bool gated;  ///< a panel holds kSide columns of each half of B
  int64_t n;   ///< columns of panels
  int64_t batch, m, batchesB, panels, steps;
  int64_t partSteps;  ///< those of K that a unit takes at a time
  UnitPlan unit;

  Product(const OpCall& call, int threads)
      : p(call.as<MatmulParams>()),
        a(call.in[0].as<const uint16_t>()),
        b(call.in[1].as<const uint16_t>()),
        epilogue(Epilogue::of<MatmulParams>(call)),
        gated(p.activation == kGeglu),
        n(packedColumns(p)),
        batch(sharesB(p) ? 1 : p.batch),
        m(rowsTogether(p)),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch),
        panels(ceilDiv(n, kBlock)),
        steps(ceilDiv(p.k, kTileDepth)),
        partSteps(ceilDiv(steps, ceilDiv(p.k, mostDepth()))),
        unit(UnitPlan::byColumns(
            m, n, ceilDiv(threads, batch), partSteps == steps ? m : kMostKeptRows,
            (m <= kFewRows ? kFewRowsColumnNumbers : kColumnNumbers) / (partSteps * kTileDepth))) {}
  int64_t mostDepth() const {
    if (m <= kFewRows) return kFewRowsDepth;
    return p.transA ? kTransposedDepth : kMostDepth;
  }
  int64_t units() const { return batch * unit.rowUnits * unit.columnUnits; }
  int64_t panelSize() const { return steps * kPair; }
  int64_t packedNumbers() const { return batchesB * panels * panelSize(); }
  /// Whether tiles load rows of A in place: they are made of lines of tiles, which are lines of the
  /// cache that have room there together.
  bool inPlace() const {
    return !p.transA && p.k % kTileDepth == 0 && reinterpret_cast<uintptr_t>(a) % kRowBytes == 0 &&
           (p.k % kFarRows != 0 || p.n < kColumnsOfCopied);
  }
  /// Whether each panel of B is of use to one unit alone.
  bool packsInUnits() const { return unit.rowUnits == 1 && batchesB == batch; }

  /// Packs a piece of B: panels [first, last), `panelStep` numbers apart, for a range of K. Panels
  /// side by side share what a row of B brings into the caches.
  [[gnu::noinline]] void packPanels(int64_t batch, int64_t first, int64_t last, int64_t begin,
                                    int64_t end, uint16_t* to, int64_t panelStep) const {
    const uint16_t* from = b + batch * p.batchStrideB;
    for (int64_t k = begin; k < end; k += kTileDepth, to += kPair) {
      for (int64_t panel = first; panel < last; panel++) {
        const int64_t depth = smaller(kTileDepth, end - k);
        uint16_t* at = to + (panel - first) * panelStep;
        for (int64_t tile = 0; tile < kBlock / kSide; tile++, at += kTile) {
          const TileColumns columns(p, panel, tile);
          if (p.transB)
            transposeTile(at, from + columns.first * p.k + k, p.k, columns.count, depth);
          else
            interleaveTile(at, from + k * p.n + columns.first, p.n, columns.count, depth);
        }
      }
    }
  }
  /// Packs up to kBlock rows of A for a cut of K.
  [[gnu::noinline]] void packRows(int64_t batch, int64_t row, int64_t k, int64_t depth,
                                  uint16_t* to) const {
    const uint16_t* from = a + batch * p.batchStrideA;
    const int64_t rows = smaller(kBlock, m - row);
    if (p.transA)
      transposeRows(to, from + k * m + row, m, rows, depth);
    else
      copyRows(to, from + row * p.k + k, p.k, rows, depth);
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
