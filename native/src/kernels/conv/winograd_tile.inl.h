// The register tile of Winograd's products. The inverse transform magnifies the rounding of sums,
// so these are cut: each piece of K is a chain of its own that starts from zero, and pieces add up
// in order. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/pack.inl.h"

namespace figment::FIGMENT_ISA::conv {

using namespace gemm;  // NOLINT: one vocabulary, three folders

/// C (+)= A·B over `depth` of K: rows of A, B and C are steps apart, B and C kVectors wide.
struct PieceTile {
  const float* a;
  int64_t aStep;
  const float* b;
  int64_t depth;
  float* c;
  int64_t cStep;
  int64_t piece;
  bool first;  ///< C holds nothing yet
};

template <int kRows, int kVectors>
void pieceTile(const PieceTile& tile) {
  const float* a[kRows];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++) a[m] = tile.a + m * tile.aStep;
  const float* b = tile.b;
  for (int64_t at = 0; at < tile.depth; at += tile.piece) {
    F32 sum[kRows][kVectors];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) sum[m][v] = F32::zero();
    const int64_t end = smaller(at + tile.piece, tile.depth);
    for (int64_t k = at; k < end; k++) {
      F32 bk[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) bk[v] = F32::load(b + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const F32 x = F32::broadcast(a[m][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sum[m][v] = multiplyAdd(x, bk[v], sum[m][v]);
      }
      b += kVectors * kLanes;
    }
    const bool alone = tile.first && at == 0;
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      float* c = tile.c + m * tile.cStep;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++)
        (alone ? sum[m][v] : F32::load(c + v * kLanes) + sum[m][v]).store(c + v * kLanes);
    }
  }
}

/// All `rows` of C.
template <int kVectors>
inline void pieceRows(PieceTile tile, int64_t rows) {
  constexpr int kMost = kTileRows * 2 / 3, kSome = kTileRows / 3;
  const auto run = [&](auto count) __attribute__((always_inline)) {
    constexpr int kRows = decltype(count)::value;
    pieceTile<kRows, kVectors>(tile);
    tile.a += kRows * tile.aStep;
    tile.c += kRows * tile.cStep;
    rows -= kRows;
  };
  while (rows >= kTileRows) run(std::integral_constant<int, kTileRows>());
  while (rows >= kMost) run(std::integral_constant<int, kMost>());
  while (rows >= kSome) run(std::integral_constant<int, kSome>());
  while (rows > 0) run(std::integral_constant<int, 1>());
}

}  // namespace figment::FIGMENT_ISA::conv
