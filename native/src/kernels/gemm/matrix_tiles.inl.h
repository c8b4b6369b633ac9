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

/// Smaller products of convolutions and attention do not repay the packing of both factors. A
/// guess: never measured.
constexpr int64_t kLeastRows = 16, kLeastDepth = 32;
constexpr int kPossible = kReferencePreference + 1;

/// Bias, activation and rounding of a row of sums on their way out.
[[gnu::noinline]] inline void storeRow(Results to, const float* sums, int64_t count, Elements bias,
                                       int activation) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = int(smaller(kLanes, count - i));
    F32 x = lanes == kLanes ? F32::load(sums + i) : F32::loadPartial(sums + i, lanes);
    if (bias.given()) x += gemm::loadElements(bias + i, lanes);
    if (activation != kNoActivation) x = gemm::activate(x, activation);
    gemm::storeElements(to + i, x, lanes);
  }
}

/// Rounds kBlock sums to bf16, whatever they are.
struct ExactRounding {
  static FIGMENT_INLINE void storeBf16(uint16_t* to, const float* sums) {
    for (int64_t i = 0; i < kBlock; i += 2 * kLanes)
      figment::FIGMENT_ISA::storeBf16(to + i, F32::load(sums + i), F32::load(sums + i + kLanes));
  }
};

/// Where finished rows of kBlock sums go.
struct RowResults {
  Results to;    ///< of row and column zero
  int64_t step;  ///< from one row to the next
  int64_t columns;
  Elements bias;
  int activation;

  /// Stores rows [row, end), whose sums are `sums`, from a column on. What nothing is added to and
  /// is as wide as a block takes few instructions, since these share their ports with the tiles.
  template <class Rounding>
  FIGMENT_INLINE void store(int64_t row, int64_t end, int64_t column, const float* sums) const {
    const Results at = to + (row * step + column);
    const int64_t count = smaller(kBlock, columns - column);
    const bool plain = count == kBlock && !bias.given() && activation == kNoActivation;
    if (plain && to.format == Format::bf16) {
      auto* bits = reinterpret_cast<uint16_t*>(at.data);
      for (; row < end; row++, sums += kBlock, bits += step) Rounding::storeBf16(bits, sums);
    } else if (plain && to.format == Format::f32) {
      float* numbers = at.floats();
      for (; row < end; row++, sums += kBlock, numbers += step)
        for (int64_t i = 0; i < kBlock; i += kLanes) F32::load(sums + i).store(numbers + i);
    } else {
      storeRows(at, end - row, count, bias.given() ? bias + column : bias, sums);
    }
  }

 private:
  [[gnu::noinline]] void storeRows(Results at, int64_t rows, int64_t count, Elements biasAt,
                                   const float* sums) const {
    for (int64_t i = 0; i < rows; i++)
      storeRow(at + i * step, sums + i * kBlock, count, biasAt, activation);
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
