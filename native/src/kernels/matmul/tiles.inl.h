// matmul of bf16 factors on matrix tiles, as AMX has them: 16 rows of 64 bytes, of which
//   dot   C[m][n] += Σ_k A[m][2k] B[k][2n] + A[m][2k + 1] B[k][2n + 1],  m, n, k < 16
// multiplies 16×32 by 32×16 bf16 numbers into 16×16 f32 sums (Intel SDM, TDPBF16PS: even and odd k
// are summed apart, denormals count as zero). Four tiles of C are fed by two of A and two of B, so
// that each loaded tile is used twice. Both factors are packed: B once, A by the unit that needs
// it, one cut of K at a time, which stays in the L2 cache. Written over a `Tiles` type: the
// hardware's, or an emulation that shows on any machine that packing and order are right.
#pragma once

#include "kernels/gemm/activation.h"
#include "kernels/kernel.h"
#include "kernels/params/matmul.generated.h"
#include "kernels/simd/half.h"

namespace figment::FIGMENT_ISA::tiles {

constexpr int64_t kSide = 16;       ///< rows of a tile, and f32 columns
constexpr int64_t kTileDepth = 32;  ///< of K in one dot
constexpr int64_t kBlock = 2 * kSide;
/// bf16 numbers of a packed pair of tiles: kBlock rows or columns, kTileDepth deep.
constexpr int64_t kPair = kBlock * kTileDepth;
constexpr int64_t kRowBytes = 64;
/// A unit of work: rows and columns, and the cut of K that is packed at a time.
constexpr int64_t kUnitRows = 128, kUnitColumns = 256, kCut = 512;

inline __attribute__((always_inline)) int64_t divideUp(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline __attribute__((always_inline)) int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

struct Product {
  const MatmulParams& p;
  const uint16_t *a, *b;
  int64_t blocksK, panels, rowUnits, columnUnits, batchesB;

  explicit Product(const OpCall& call)
      : p(call.as<MatmulParams>()),
        a(call.in[0].as<const uint16_t>()),
        b(call.in[1].as<const uint16_t>()),
        blocksK(divideUp(p.k, kTileDepth)),
        panels(divideUp(p.n, kBlock)),
        rowUnits(divideUp(p.m, kUnitRows)),
        columnUnits(divideUp(p.n, kUnitColumns)),
        batchesB(p.batchStrideB == 0 ? 1 : p.batch) {}
  int64_t panelSize() const { return blocksK * kPair; }
};

/// Scratch of one worker: packed rows of A, and the f32 sums of a unit.
constexpr int64_t kPackedA = kUnitRows * kCut, kSums = kUnitRows * kUnitColumns;
constexpr size_t kWorkerBytes = kPackedA * sizeof(uint16_t) + kSums * sizeof(float);

/// One panel of B for one block of K: two tiles whose rows hold pairs of neighbours along K.
inline void packB(const Product& g, int64_t batch, int64_t panel, int64_t block, uint16_t* to) {
  const int64_t stepK = g.p.transB ? 1 : g.p.n, stepN = g.p.transB ? g.p.k : 1;
  const uint16_t* from = g.b + batch * g.p.batchStrideB;
  for (int64_t pair = 0; pair < kTileDepth / 2; pair++) {
    for (int64_t column = 0; column < kBlock; column++) {
      const int64_t n = panel * kBlock + column, k = block * kTileDepth + 2 * pair;
      uint16_t* at = to + column / kSide * (kPair / 2) + pair * kTileDepth + column % kSide * 2;
      for (int64_t i = 0; i < 2; i++)
        at[i] = n < g.p.n && k + i < g.p.k ? from[(k + i) * stepK + n * stepN] : uint16_t(0);
    }
  }
}

/// Rows [row, row + kBlock) of A for one block of K: two tiles as they lie in memory.
inline void packA(const Product& g, int64_t batch, int64_t row, int64_t block, uint16_t* to) {
  const int64_t stepM = g.p.transA ? 1 : g.p.k, stepK = g.p.transA ? g.p.m : 1;
  const uint16_t* from = g.a + batch * g.p.batchStrideA;
  for (int64_t i = 0; i < kBlock; i++) {
    for (int64_t j = 0; j < kTileDepth; j++) {
      const int64_t m = row + i, k = block * kTileDepth + j;
      to[i * kTileDepth + j] = m < g.p.m && k < g.p.k ? from[m * stepM + k * stepK] : uint16_t(0);
    }
  }
}

/// Adds `blocks` blocks of K to kBlock × kBlock sums, `step` floats apart; from zero when `first`.
template <class Tiles>
inline void multiply(Tiles& tiles, const uint16_t* a, const uint16_t* b, int64_t blocks, bool first,
                     float* sums, int64_t step) {
  constexpr int64_t kTile = kPair / 2;
  const int64_t stepBytes = step * int64_t(sizeof(float));
  float* lower = sums + kSide * step;
  if (first) {
    tiles.template zero<0>();
    tiles.template zero<1>();
    tiles.template zero<2>();
    tiles.template zero<3>();
  } else {
    tiles.template load<0>(sums, stepBytes);
    tiles.template load<1>(sums + kSide, stepBytes);
    tiles.template load<2>(lower, stepBytes);
    tiles.template load<3>(lower + kSide, stepBytes);
  }
  for (int64_t block = 0; block < blocks; block++, a += kPair, b += kPair) {
    tiles.template load<4>(a, kRowBytes);
    tiles.template load<6>(b, kRowBytes);
    tiles.template load<7>(b + kTile, kRowBytes);
    tiles.template dot<0, 4, 6>();
    tiles.template dot<1, 4, 7>();
    tiles.template load<5>(a + kTile, kRowBytes);
    tiles.template dot<2, 5, 6>();
    tiles.template dot<3, 5, 7>();
  }
  tiles.template store<0>(sums, stepBytes);
  tiles.template store<1>(sums + kSide, stepBytes);
  tiles.template store<2>(lower, stepBytes);
  tiles.template store<3>(lower + kSide, stepBytes);
}

inline float readFloat(const Operand& operand, int64_t i) {
  if (operand.format == Format::f32) return operand.as<const float>()[i];
  const uint16_t bits = operand.as<const uint16_t>()[i];
  return fromBits(operand.format == Format::bf16 ? uint32_t(bits) << 16 : widenF16(bits));
}

/// Bias, activation and rounding of a unit's sums on their way out.
inline void storeUnit(const OpCall& call, const float* sums, int64_t first, int64_t rows,
                      int64_t column, int64_t columns) {
  const auto& p = call.as<MatmulParams>();
  const Operand& out = call.out[0];
  for (int64_t i = 0; i < rows; i++) {
    const int64_t at = first + i * p.n + column;
    for (int64_t j = 0; j < columns; j++) {
      float x = sums[i * kUnitColumns + j];
      if (p.bias) x += readFloat(call.in[2], column + j);
      if (p.activation == kRelu && x < 0) x = 0;
      if (out.format == Format::f32)
        out.as<float>()[at + j] = x;
      else
        out.as<uint16_t>()[at + j] =
            out.format == Format::bf16 ? narrowBf16(toBits(x)) : narrowF16(toBits(x));
    }
  }
}

template <class Tiles>
inline void runUnit(const OpCall& call, const Product& g, Tiles& tiles, const uint16_t* packedB,
                    int64_t unit, uint16_t* packedA, float* sums) {
  const int64_t columnUnit = unit % g.columnUnits, rowUnit = unit / g.columnUnits % g.rowUnits;
  const int64_t batch = unit / g.columnUnits / g.rowUnits;
  const int64_t row = rowUnit * kUnitRows, rows = least(kUnitRows, g.p.m - row);
  const int64_t column = columnUnit * kUnitColumns, columns = least(kUnitColumns, g.p.n - column);
  const uint16_t* b =
      packedB + ((g.batchesB == 1 ? 0 : batch) * g.panels + column / kBlock) * g.panelSize();
  constexpr int64_t kCutBlocks = kCut / kTileDepth;
  for (int64_t block = 0; block < g.blocksK; block += kCutBlocks) {
    const int64_t blocks = least(kCutBlocks, g.blocksK - block);
    for (int64_t i = 0; i < rows; i += kBlock)
      for (int64_t k = 0; k < blocks; k++)
        packA(g, batch, row + i, block + k, packedA + i * kCut + k * kPair);
    for (int64_t j = 0; j < columns; j += kBlock)
      for (int64_t i = 0; i < rows; i += kBlock)
        multiply(tiles, packedA + i * kCut, b + j / kBlock * g.panelSize() + block * kPair, blocks,
                 block == 0, sums + i * kUnitColumns + j, kUnitColumns);
  }
  storeUnit(call, sums, (batch * g.p.m + row) * g.p.n, rows, column, columns);
}

inline size_t scratchBytes(const OpCall& call, int threads) {
  const Product g(call);
  return size_t(g.batchesB * g.panels * g.panelSize()) * sizeof(uint16_t) +
         size_t(threads) * kWorkerBytes;
}

template <class Tiles>
inline void run(const OpCall& call, Context& context) {
  const Product g(call);
  std::byte* workers = context.scratch();
  auto* packed = reinterpret_cast<uint16_t*>(workers + size_t(context.threads()) * kWorkerBytes);
  context.parallelFor(g.batchesB * g.panels, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i++)
      for (int64_t block = 0; block < g.blocksK; block++)
        packB(g, i / g.panels, i % g.panels, block, packed + i * g.panelSize() + block * kPair);
  });
  context.parallelFor(g.p.batch * g.rowUnits * g.columnUnits, 1,
                      [&](int64_t begin, int64_t end, int worker) {
                        Tiles tiles;
                        std::byte* mine = workers + size_t(worker) * kWorkerBytes;
                        auto* sums = reinterpret_cast<float*>(mine);
                        auto* packedA = reinterpret_cast<uint16_t*>(mine + kSums * sizeof(float));
                        for (int64_t unit = begin; unit < end; unit++)
                          runUnit(call, g, tiles, packed, unit, packedA, sums);
                      });
}

/// Products of bf16 factors that are not empty; the results may be of any format.
inline bool takes(const OpCall& call) {
  const auto& p = call.as<MatmulParams>();
  return call.in[0].format == Format::bf16 && call.in[1].format == Format::bf16 &&
         p.activation != kSilu && p.batch > 0 && p.m > 0 && p.n > 0 && p.k > 0;
}

}  // namespace figment::FIGMENT_ISA::tiles
