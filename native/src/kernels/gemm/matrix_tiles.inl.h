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

/// Smaller products do not repay the packing of both factors. A guess: never measured.
constexpr int64_t kLeastRows = 16, kLeastDepth = 32;
constexpr int kPossible = kReferencePreference + 1;

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
