// The register-tile product behind attention and its derivative. C[rows, L vectors] = A·B, where
// A's elements are broadcast from wherever they lie (rows or columns of k, v or a score tile) and
// B's rows are vectors. Nothing of k or v is ever repacked.
#pragma once

#include "../gemm/pack.inl.h"
#include "../norm/isa_variant.h"
#include "../softmax/fast_exp.h"

namespace figment::FIGMENT_ISA {

/// Rows and vectors of a register tile: accumulators, one row of B and a broadcast fill the
/// register file (32 registers with AVX-512, 16 otherwise).
constexpr int kTileRows = FIGMENT_LEVEL == 2 ? 8 : 4;
constexpr int kTileVectors = 3;
/// Queries of a tile: the lanes of its vectors.
constexpr int64_t kTileQueries = kTileVectors * kLanes;
/// Keys of a block of scores, which with its tile of queries stays in the first-level cache.
constexpr int64_t kBlockKeys = 64;

/// Where element (row, depth) of A lies.
enum class Order { byRow, byDepth };

template <int R, int L, Order kOrder>
FIGMENT_INLINE void multiplyTile(const float* a, int64_t aStride, const float* b, int64_t bStride,
                                 int64_t depth, F32 (&sum)[R][L]) {
  for (int r = 0; r < R; r++)
    for (int l = 0; l < L; l++) sum[r][l] = F32::zero();
  for (int64_t k = 0; k < depth; k++) {
    F32 row[L];
    for (int l = 0; l < L; l++) {
      row[l] = F32::load(b + k * bStride + l * kLanes);
      row[l].hold();
    }
    for (int r = 0; r < R; r++) {
      const F32 x =
          F32::broadcast(kOrder == Order::byRow ? a[r * aStride + k] : a[k * aStride + r]);
      for (int l = 0; l < L; l++) sum[r][l] = mulAdd(x, row[l], sum[r][l]);
    }
  }
}

template <int R, int L, Order kOrder, class Finish>
FIGMENT_INLINE void multiplyRows(int64_t& row, int64_t rows, const float* a, int64_t aStride,
                                 const float* b, int64_t bStride, int64_t depth, Finish& finish) {
  for (; row + R <= rows; row += R) {
    F32 sum[R][L];
    multiplyTile<R, L, kOrder>(a + row * (kOrder == Order::byRow ? aStride : 1), aStride, b,
                               bStride, depth, sum);
    finish.template operator()<R, L>(row, sum);
  }
}

/// A·B tile by tile; finish(row, tile) receives each tile's sums in registers. A function of its
/// own, whose registers hold a tile and nothing else.
template <int L, Order kOrder, class Finish>
[[gnu::noinline]] void multiplyPanel(int64_t rows, const float* a, int64_t aStride, const float* b,
                                     int64_t bStride, int64_t depth, Finish finish) {
  int64_t row = 0;
  multiplyRows<kTileRows, L, kOrder>(row, rows, a, aStride, b, bStride, depth, finish);
  if (kTileRows > 4) multiplyRows<4, L, kOrder>(row, rows, a, aStride, b, bStride, depth, finish);
  multiplyRows<2, L, kOrder>(row, rows, a, aStride, b, bStride, depth, finish);
  multiplyRows<1, L, kOrder>(row, rows, a, aStride, b, bStride, depth, finish);
}

using gemm::Elements;
using gemm::Results;

/// Operands may be 16-bit; results are sums in f32 in any case.
template <int kInputs>
int supportsFloats(const OpCall& call) {
  return gemm::tileFormats(call, kInputs) ? kVariantPreference : -1;
}

/// Rows of floats: where they lie, or widened into scratch.
struct FloatRows {
  const float* data;
  int64_t stride;
};
inline FloatRows floatRows(Elements rows, int64_t stride, int64_t count, int64_t d,
                           float* scratch) {
  if (!rows.half()) return {rows.floats(), stride};
  for (int64_t i = 0; i < count; i++) gemm::widen(scratch + i * d, rows + i * stride, d);
  return {scratch, d};
}

/// Rows as floats, one after the other: rows of a head lie far apart, often at a power of two,
/// where they would displace each other in the first-level cache.
inline void copyRows(Elements rows, int64_t stride, int64_t count, int64_t d, float* to) {
  for (int64_t i = 0; i < count; i++) gemm::widen(to + i * d, rows + i * stride, d);
}

/// rows[i][e] (i < count, e < d) · factor into columns[e][i]; lanes past count become zero.
inline void packColumns(Elements rows, int64_t stride, int64_t count, int64_t d, float factor,
                        float* columns) {
  gemm::transpose(rows, stride, count, d, columns, kTileQueries);
  for (int64_t e = 0; e < d; e++) {
    float* column = columns + e * kTileQueries;
    for (int64_t i = count; i < kTileQueries; i++) column[i] = 0;
    for (int l = 0; l < kTileVectors; l++)
      (F32::load(column + l * kLanes) * F32::broadcast(factor)).store(column + l * kLanes);
  }
}

/// The inverse of packColumns, each lane with its own factor. Scales the columns in place.
inline void unpackColumns(float* columns, const float* factors, int64_t count, int64_t d,
                          Results rows, int64_t stride) {
  for (int64_t e = 0; e < d; e++) {
    for (int l = 0; l < kTileVectors; l++) {
      float* at = columns + e * kTileQueries + l * kLanes;
      (F32::load(at) * F32::load(factors + l * kLanes)).store(at);
    }
  }
  gemm::transpose(columns, kTileQueries, d, count, rows, stride);
}

}  // namespace figment::FIGMENT_ISA
