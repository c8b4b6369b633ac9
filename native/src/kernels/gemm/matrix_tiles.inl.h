// Matrix tiles as AMX has them, the core of products of bf16: 16 rows of 64 bytes, of which
//   dot   C[m][n] += Σ_k A[m][2k] B[k][2n] + A[m][2k + 1] B[k][2n + 1],  m, n, k < 16
// multiplies 16×32 by 32×16 bf16 numbers into 16×16 f32 sums (Intel SDM, TDPBF16PS: even and odd k
// are summed apart, denormals count as zero). Four tiles of C are fed by two of A and two of B, so
// that each loaded tile is used twice. Both factors are packed in blocks of 32 along K. Written
// over a `Tiles` type: the hardware's (tiles_amx.h), vectors (tiles_avx512bf16.h), or an emulation
// (tiles_emulated.h) that shows on any machine that packing and order are right. Include only from
// files compiled for one instruction set.
#pragma once

#include "kernels/gemm/block.inl.h"
#include "kernels/gemm/gate.inl.h"
#include "kernels/gemm/tile_packing.inl.h"

namespace figment::FIGMENT_ISA::tiles {

using gemm::Addend;
using gemm::ColumnFloats;
using gemm::Elements;
using gemm::Epilogue;
using gemm::Results;

/// Smaller products of convolutions and attention do not repay the packing of both factors. A
/// guess: never measured.
constexpr int64_t kLeastRows = 16, kLeastDepth = 32;
constexpr int kPossible = kReferencePreference + 1;

/// Scale, bias, activation, addend and rounding of a row of sums on their way out.
[[gnu::noinline]] inline void storeRow(Results to, const float* sums, int64_t count,
                                       const ColumnFloats& columns, int activation,
                                       const Addend& addend) {
  const Elements added = addend.at(to.data);
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = int(smaller(kLanes, count - i));
    F32 x = lanes == kLanes ? F32::load(sums + i) : F32::loadPartial(sums + i, lanes);
    x = columns.applied(x, i, lanes);
    if (activation != kNoActivation) x = gemm::activate(x, activation);
    if (added.given()) x += gemm::loadElements(added + i, lanes);
    gemm::storeElements(to + i, x, lanes);
  }
}

/// Where finished rows of kBlock sums go. Where they are gated, these are kSide columns of each
/// half, next to each other, and kSide results.
struct RowResults {
  Results to;    ///< of row and column zero
  int64_t step;  ///< from one row to the next
  int64_t columns;
  ColumnFloats floats;  ///< of those columns
  int activation;
  Addend addend;

  /// Stores rows [row, end), whose sums are `sums`, from a column on. Whole blocks that get at most
  /// a bias and f32 numbers take few instructions, since these share their ports with the tiles.
  template <class Tiles>
  FIGMENT_INLINE void store(int64_t row, int64_t end, int64_t column, const float* sums) const {
    const Results at = to + (row * step + resultColumns(column, activation));
    const int64_t count = smaller(kBlock, columns - column);
    const ColumnFloats own = floats + column;
    const float* added = own.bias;
    if (activation == kGeglu)
      storeGatedRows<Tiles>(at, end - row, smaller(kSide, columns - column / 2), added, sums);
    else if (count < kBlock || activation != kNoActivation || to.format == Format::f16 ||
             !addend.single())
      storeRows(at, end - row, count, own, sums);
    else if (own.scale)
      storeBlock<Tiles>(at, end - row, sums,
                        [=, this, numbers = addend.floatsAt(at.data)](const float* sum, int64_t i) {
                          const F32 x = own.applied(F32::load(sum + i), i);
                          return numbers ? x + F32::load(numbers + (sum - sums) / kBlock * step + i)
                                         : x;
                        });
    else if (const float* numbers = addend.floatsAt(at.data))
      storeBlock<Tiles>(at, end - row, sums, [=, this](const float* sum, int64_t i) {
        return biased(sum, added, i) + F32::load(numbers + (sum - sums) / kBlock * step + i);
      });
    else if (added)
      storeBlock<Tiles>(at, end - row, sums, [added](const float* sum, int64_t i) {
        return F32::load(sum + i) + F32::load(added + i);
      });
    else
      storeBlock<Tiles>(at, end - row, sums,
                        [](const float* sum, int64_t i) { return F32::load(sum + i); });
  }

 private:
  /// `rows` rows of kBlock numbers; finished(sum, i) is a vector of them.
  template <class Tiles, class Finished>
  FIGMENT_INLINE void storeBlock(Results at, int64_t rows, const float* sums,
                                 Finished&& finished) const {
    if (to.format == Format::bf16) {
      auto* bits = reinterpret_cast<uint16_t*>(at.data);
      for (; rows > 0; rows--, sums += kBlock, bits += step)
        for (int64_t i = 0; i < kBlock; i += 2 * kLanes)
          Tiles::storeBf16(bits + i, finished(sums, i), finished(sums, i + kLanes));
    } else {
      float* numbers = at.floats();
      for (; rows > 0; rows--, sums += kBlock, numbers += step)
        for (int64_t i = 0; i < kBlock; i += kLanes) finished(sums, i).store(numbers + i);
    }
  }
  template <class Tiles>
  [[gnu::noinline]] void storeGatedRows(Results at, int64_t rows, int64_t count,
                                        const float* biasAt, const float* sums) const {
    if (to.format == Format::bf16 && count == kSide)
      return storeGatedBf16<Tiles>(reinterpret_cast<uint16_t*>(at.data), rows, biasAt, sums);
    for (int64_t row = 0; row < rows; row++, sums += kBlock)
      for (int64_t i = 0; i < count; i += kLanes)
        gemm::storeGated(at + (row * step + i), biased(sums, biasAt, i),
                         biased(sums, biasAt, kSide + i), count - i);
  }
  /// As many rows at once as two vectors are rounded to.
  template <class Tiles>
  FIGMENT_INLINE void storeGatedBf16(uint16_t* at, int64_t rows, const float* biasAt,
                                     const float* sums) const {
    constexpr int64_t kTogether = larger(1, 2 * kLanes / kSide);
    alignas(kRowBytes) uint16_t bits[kTogether * kSide];
    for (; rows > 0; rows -= kTogether, at += kTogether * step, sums += kTogether * kBlock) {
      const int64_t last = smaller(kTogether, rows) - 1;
      const auto gated = [&](int64_t i) {
        const float* row = sums + smaller(last, i / kSide) * kBlock;
        return gemm::coarseGate(biased(row, biasAt, i % kSide),
                                biased(row, biasAt, kSide + i % kSide));
      };
      for (int64_t i = 0; i < kTogether * kSide; i += 2 * kLanes)
        Tiles::storeBf16(bits + i, gated(i), gated(i + kLanes));
      for (int64_t row = 0; row <= last; row++)
        __builtin_memcpy(at + row * step, bits + row * kSide, kSide * sizeof *bits);
    }
  }
  static FIGMENT_INLINE F32 biased(const float* sums, const float* biasAt, int64_t i) {
    return biasAt ? F32::load(sums + i) + F32::load(biasAt + i) : F32::load(sums + i);
  }
  [[gnu::noinline]] void storeRows(Results at, int64_t rows, int64_t count, const ColumnFloats& own,
                                   const float* sums) const {
    for (int64_t i = 0; i < rows; i++)
      storeRow(at + i * step, sums + i * kBlock, count, own, activation, addend);
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
