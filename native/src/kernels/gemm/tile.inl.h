// The register tiles that all matrix products and convolutions run on, written once over the
// vectors of simd/vec.h. Include only from files compiled for one instruction set.
//
//   rowTile    C[m][n] += Σ_k A[m][k] B[k][n], every row of A behind its own pointer, K cut into
//              segments that lie anywhere relative to those pointers: with one segment it is a
//              matrix product, with one segment per kernel tap an implicit-GEMM convolution.
//   dotTile    the same for very few columns n: vectors run along K and are summed at the end.
//   laneTile   C[m][n] += Σ_k A[m][k, n] B[k][n]: a convolution of each channel with itself.
//   outerTile  C[m][n] += Σ_k A[k][m] B[k][n], both factors walked along K: the weight gradient.
//
// In a row tile or lane tile each element of C is one chain of multiply-adds in the order of k,
// whichever tile size computes it and wherever K is interrupted (C is loaded again); dot and outer
// tiles sum from zero and add once to C. So results depend on the operands and the cuts of K alone.
#pragma once

#include "kernels/simd/vec.h"

namespace figment::FIGMENT_ISA::gemm {

/// Registers of the tiles: kTileRows × kTileVectors accumulators plus a row of B and one of A.
#if FIGMENT_LEVEL == 2
constexpr int kTileRows = 12, kTileVectors = 2;
constexpr int kOuterRows = 8, kOuterVectors = 3;
constexpr int kDotRows = 6;
#elif FIGMENT_LEVEL == 1
constexpr int kTileRows = 6, kTileVectors = 2;
constexpr int kOuterRows = 4, kOuterVectors = 3;
constexpr int kDotRows = 4;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
constexpr int kOuterRows = 4, kOuterVectors = 2;
constexpr int kDotRows = 4;
#endif
constexpr int kLaneRows = kTileRows / 2;
/// With at most this many columns a row tile would waste half of its lanes or more.
constexpr int kDotColumns = kLanes < 8 ? 1 : 4;
/// How many of them fit the registers, with kDotRows rows.
constexpr int kDotTileColumns = kLanes == 8 ? 3 : kDotColumns;
constexpr int kTileColumns = kTileVectors * kLanes;

/// A run of K: where it starts relative to a row pointer of A, and how long it is.
struct Segment {
  int64_t offset;
  int64_t length;
};

/// a·b + c. Without fused hardware it rounds twice: a library call per lane would cost 50×.
FIGMENT_INLINE F32 multiplyAdd(F32 a, F32 b, F32 c) {
#if FIGMENT_LEVEL == 0
  return a * b + c;
#else
  return fma(a, b, c);
#endif
}

/// What one call of a row, dot or lane tile works on.
struct RowTile {
  const float* const* a;    ///< kRows row pointers
  int64_t aStep;            ///< from one k to the next inside a segment (dot tiles: 1)
  const Segment* segments;  ///< K in order
  int64_t segmentCount;
  const float* b;     ///< K rows of B (dot tiles: its columns)
  int64_t bStep;      ///< from one row (column) of B to the next
  float* const* c;    ///< kRows row pointers
  const float* init;  ///< a row that C starts from, or null to continue from C
  int columns;        ///< valid columns, 1 .. kVectors * kLanes
  int64_t aColumn;    ///< lane tiles: where the columns start in a row of A
};

/// The sums that a row or lane tile starts from.
template <int kRows, int kVectors>
FIGMENT_INLINE void loadSums(const RowTile& tile, int64_t column, F32 (&sum)[kRows][kVectors]) {
  const int tail = tile.columns - (kVectors - 1) * kLanes;
  if (tile.init) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) {
      const F32 x = F32::load(tile.init + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) sum[m][v] = x;
    }
  } else {
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) {
      const float* c = tile.c[m] + column;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors - 1; v++) sum[m][v] = F32::load(c + v * kLanes);
      sum[m][kVectors - 1] = F32::loadPartial(c + (kVectors - 1) * kLanes, tail);
    }
  }
}

template <int kRows, int kVectors>
FIGMENT_INLINE void storeSums(const RowTile& tile, int64_t column,
                              const F32 (&sum)[kRows][kVectors]) {
  const int tail = tile.columns - (kVectors - 1) * kLanes;
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++) {
    float* c = tile.c[m] + column;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors - 1; v++) sum[m][v].store(c + v * kLanes);
    sum[m][kVectors - 1].storePartial(c + (kVectors - 1) * kLanes, tail);
  }
}

template <int kRows, int kVectors>
void rowTile(const RowTile& tile, int64_t column) {
  F32 sum[kRows][kVectors];
  loadSums(tile, column, sum);
  const float* b = tile.b;
  const int64_t aStep = tile.aStep, bStep = tile.bStep;
  for (int64_t s = 0; s < tile.segmentCount; s++) {
    const int64_t length = tile.segments[s].length * aStep;
    const float* a[kRows];
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++) a[m] = tile.a[m] + tile.segments[s].offset + length;
    for (int64_t k = -length; k < 0; k += aStep) {
      F32 bk[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) bk[v] = F32::load(b + v * kLanes);
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const F32 x = F32::broadcast(a[m][k]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sum[m][v] = multiplyAdd(x, bk[v], sum[m][v]);
      }
      b += bStep;
    }
  }
  storeSums(tile, column, sum);
}

/// A row of A is a vector over the columns, at every k of its segments (of length 1).
template <int kRows, int kVectors>
void laneTile(const RowTile& tile, int64_t column) {
  F32 sum[kRows][kVectors];
  loadSums(tile, column, sum);
  const float* b = tile.b;
  for (int64_t s = 0; s < tile.segmentCount; s++) {
    const int64_t offset = tile.segments[s].offset + tile.aColumn;
    F32 bk[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) bk[v] = F32::load(b + v * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++)
        sum[m][v] = multiplyAdd(F32::load(tile.a[m] + offset + v * kLanes), bk[v], sum[m][v]);
    b += tile.bStep;
  }
  storeSums(tile, column, sum);
}

/// Adds to `rows` (at most kDotRows) rows, columns from `first` on; neighbours in C are `cStep`
/// apart.
template <int kColumns>
void dotTile(const RowTile& tile, int rows, int64_t first, int64_t cStep) {
  F32 sum[kDotRows][kColumns];
#pragma GCC unroll 16
  for (int m = 0; m < kDotRows; m++)
#pragma GCC unroll 4
    for (int n = 0; n < kColumns; n++) sum[m][n] = F32::zero();
  const float* b = tile.b + first * tile.bStep;
  for (int64_t s = 0; s < tile.segmentCount; s++) {
    const int64_t length = tile.segments[s].length, offset = tile.segments[s].offset;
    const auto step = [&](auto load, int64_t k) __attribute__((always_inline)) {
      F32 bk[kColumns];
#pragma GCC unroll 4
      for (int n = 0; n < kColumns; n++) bk[n] = load(b + n * tile.bStep + k);
#pragma GCC unroll 16
      for (int m = 0; m < kDotRows; m++) {
        const F32 x = load(tile.a[m] + offset + k);
#pragma GCC unroll 4
        for (int n = 0; n < kColumns; n++) sum[m][n] = multiplyAdd(x, bk[n], sum[m][n]);
      }
    };
    int64_t k = 0;
    for (; k + kLanes <= length; k += kLanes) step([](const float* p) { return F32::load(p); }, k);
    if (const int tail = int(length - k))
      step([tail](const float* p) { return F32::loadPartial(p, tail); }, k);
    b += length;
  }
#pragma GCC unroll 16
  for (int m = 0; m < kDotRows; m++) {
    if (m >= rows) break;
#pragma GCC unroll 4
    for (int n = 0; n < kColumns; n++) {
      float& c = tile.c[m][(first + n) * cStep];
      c = (tile.init ? tile.init[first + n] : c) + reduceAdd(sum[m][n]);
    }
  }
}

/// What one call of an outer tile works on.
struct OuterTile {
  const float* a;           ///< K rows of kRows values
  int64_t aStep;            ///< from one k to the next
  const Segment* segments;  ///< K in order, offsets relative to the vectors of B
  int64_t segmentCount;
  const float* b[kOuterVectors];  ///< one pointer for each vector
  int64_t bStep;                  ///< from one k to the next inside a segment
  float* c;                       ///< kRows × kVectors·kLanes sums, added to unless `first`
  int64_t cStep;
  bool first;
};

template <int kRows, int kVectors>
void outerTile(const OuterTile& tile) {
  F32 sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) sum[m][v] = F32::zero();

  const float* a = tile.a;
  const int64_t aStep = tile.aStep, bStep = tile.bStep;
  for (int64_t s = 0; s < tile.segmentCount; s++) {
    const float* b[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++) b[v] = tile.b[v] + tile.segments[s].offset;
    for (int64_t k = tile.segments[s].length; k > 0; k--) {
      F32 bk[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; v++) {
        bk[v] = F32::load(b[v]);
        b[v] += bStep;
      }
#pragma GCC unroll 16
      for (int m = 0; m < kRows; m++) {
        const F32 x = F32::broadcast(a[m]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; v++) sum[m][v] = multiplyAdd(x, bk[v], sum[m][v]);
      }
      a += aStep;
    }
  }

#pragma GCC unroll 16
  for (int m = 0; m < kRows; m++) {
    float* c = tile.c + m * tile.cStep;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; v++)
      (tile.first ? sum[m][v] : F32::load(c + v * kLanes) + sum[m][v]).store(c + v * kLanes);
  }
}

}  // namespace figment::FIGMENT_ISA::gemm
