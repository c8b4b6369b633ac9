// Matrix tiles as AMX has them, the core of products of bf16: 16 rows of 64 bytes, of which
//   dot   C[m][n] += Σ_k A[m][2k] B[k][2n] + A[m][2k + 1] B[k][2n + 1],  m, n, k < 16
// multiplies 16×32 by 32×16 bf16 numbers into 16×16 f32 sums (Intel SDM, TDPBF16PS: even and odd k
// are summed apart, denormals count as zero). Four tiles of C are fed by two of A and two of B, so
// that each loaded tile is used twice. Both factors are packed in blocks of 32 along K. Written
// over a `Tiles` type: the hardware's (tiles_amx.h), or an emulation (tiles_emulated.h) that shows
// on any machine that packing and order are right. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/gemm/block.inl.h"
#include "kernels/gemm/tile_packing.inl.h"

namespace figment::FIGMENT_ISA::tiles {

using gemm::Elements;
using gemm::Results;

/// A unit of work: rows and columns, and the cut of K that is packed at a time.
constexpr int64_t kUnitRows = 128, kUnitColumns = 256, kCut = 512;

/// Smaller products do not repay the packing of both factors. A guess: never measured.
constexpr int64_t kLeastRows = 16, kLeastDepth = 32;
constexpr int kPossible = kReferencePreference + 1;

/// Adds `blocks` blocks of K to kBlock × kBlock sums, `step` floats apart; from zero when `first`.
template <class Tiles>
inline void multiply(Tiles& tiles, const uint16_t* a, const uint16_t* b, int64_t blocks, bool first,
                     float* sums, int64_t step) {
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

/// The memory of one worker on units of a product: packed factors of a cut, and the sums of a unit,
/// kUnitColumns apart.
struct UnitScratch {
  uint16_t* rows;     ///< blocks of rows, kBlock × kCut apart
  uint16_t* columns;  ///< the same for kernels that pack both factors cut by cut, else null
  float* sums;

  static constexpr int64_t kPackedRows = kUnitRows * kCut, kPackedColumns = kUnitColumns * kCut;
  static constexpr int64_t kSums = kUnitRows * kUnitColumns;
  static UnitScratch take(Carver& carver, bool bothFactors) {
    UnitScratch s;
    s.rows = carver.take<uint16_t>(kPackedRows);
    s.columns = bothFactors ? carver.take<uint16_t>(kPackedColumns) : nullptr;
    s.sums = carver.take<float>(kSums);
    return s;
  }
  /// Bytes, rounded up to whole cache lines.
  static size_t bytes(bool bothFactors) {
    Carver measure(nullptr);
    take(measure, bothFactors);
    return measure.used();
  }
};

/// The products of a cut for a unit: its packed rows by packed columns, `columnStep` numbers from
/// one kBlock of columns to the next.
template <class Tiles>
inline void multiplyUnit(Tiles& tiles, const uint16_t* rowBlocks, int64_t rows,
                         const uint16_t* columnBlocks, int64_t columnStep, int64_t columns,
                         int64_t blocks, bool first, float* sums) {
  for (int64_t j = 0; j < columns; j += kBlock)
    for (int64_t i = 0; i < rows; i += kBlock)
      multiply(tiles, rowBlocks + i * kCut, columnBlocks + j / kBlock * columnStep, blocks, first,
               sums + i * kUnitColumns + j, kUnitColumns);
}

/// Bias, activation and rounding of a row of sums on their way out.
inline void storeRow(Results to, const float* sums, int64_t count, Elements bias, int activation) {
  int64_t i = 0;
  if (to.format == Format::bf16 && !bias.given() && activation == kNoActivation) {
    auto* bits = reinterpret_cast<uint16_t*>(to.data);
    for (; i + 2 * kLanes <= count; i += 2 * kLanes)
      storeBf16(bits + i, F32::load(sums + i), F32::load(sums + i + kLanes));
  }
  for (; i < count; i += kLanes) {
    const int lanes = int(smaller(kLanes, count - i));
    F32 x = lanes == kLanes ? F32::load(sums + i) : F32::loadPartial(sums + i, lanes);
    if (bias.given()) x += gemm::loadElements(bias + i, lanes);
    if (activation != kNoActivation) x = gemm::activate(x, activation);
    gemm::storeElements(to + i, x, lanes);
  }
}

}  // namespace figment::FIGMENT_ISA::tiles
