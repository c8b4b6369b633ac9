// Tiles of heads in shared memory and the fragments that a warp multiplies: 16-bit rows of kDim
// elements, 16 bytes apart from a multiple of their length so that eight rows meet eight different
// groups of banks.
#pragma once

#include "../../device/instructions.h"

namespace figment::cuda {

/// Elements between rows of a tile.
template <int kDim>
constexpr int kTileStride = kDim + 8;

/// Begins copies of kRows rows of a head, row `first` and those after it; rows from `end` on and
/// columns from `d` on (a multiple of 8) become zeros.
template <int kRows, int kDim, int kThreads, class T>
FIGMENT_DEVICE void copyRows(const Shared<T>& to, const Global<const T>& head, int first, int end,
                             int64_t rowStride, int d) {
  constexpr int kChunks = kDim / 8;
  FIGMENT_UNROLL
  for (int turn = 0; turn < ceilDiv(kRows * kChunks, kThreads); turn++) {
    const int chunk = turn * kThreads + int(threadIdx.x);
    if (kRows * kChunks % kThreads != 0 && chunk >= kRows * kChunks) break;
    const int row = chunk / kChunks, column = chunk % kChunks * 8;
    copyAsync16(to, row * kTileStride<kDim> + column, head, (first + row) * rowStride + column,
                first + row < end && column < d);
  }
}

/// The left factor: rows row … row + 15, elements k … k + 15.
template <int kDim, class T>
FIGMENT_DEVICE void leftFragment(uint32_t (&a)[4], const Shared<T>& tile, int row, int k) {
  const int lane = laneInWarp();
  loadMatrices(a, tile, (row + lane % 16) * kTileStride<kDim> + k + lane / 16 * 8);
}

/// Two right factors, whose columns are the tile's rows row … row + 7 and row + 8 … row + 15;
/// elements k … k + 15.
template <int kDim, class T>
FIGMENT_DEVICE void rightFragments(uint32_t (&b)[4], const Shared<T>& tile, int row, int k) {
  const int lane = laneInWarp();
  loadMatrices(b, tile,
               (row + lane % 8 + lane / 16 * 8) * kTileStride<kDim> + k + lane / 8 % 2 * 8);
}

/// Two right factors, whose columns are the tile's columns from `column` on, eight each; summed
/// over the tile's rows row … row + 15.
template <int kDim, class T>
FIGMENT_DEVICE void rightFragmentsAcross(uint32_t (&b)[4], const Shared<T>& tile, int row,
                                         int column) {
  const int lane = laneInWarp();
  loadMatricesTransposed(b, tile, (row + lane % 16) * kTileStride<kDim> + column + lane / 16 * 8);
}

/// left += a·b for the sums of both right factors.
template <class T>
FIGMENT_DEVICE void mmaPair(float (&left)[4], float (&right)[4], const uint32_t (&a)[4],
                            const uint32_t (&b)[4]) {
  const uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
  mma16816<T>(left, a, b0);
  mma16816<T>(right, a, b1);
}

/// Sums of 16 rows and kColumns columns as a left factor of the next product.
template <class T>
FIGMENT_DEVICE void packFragment(uint32_t (&a)[4], const float (&left)[4],
                                 const float (&right)[4]) {
  a[0] = packPair<T>(left[0], left[1]);
  a[1] = packPair<T>(left[2], left[3]);
  a[2] = packPair<T>(right[0], right[1]);
  a[3] = packPair<T>(right[2], right[3]);
}

/// Over the four lanes that share a row of sums.
FIGMENT_DEVICE float quadSum(float x) {
  x += __shfl_xor_sync(kWholeWarp, x, 1);
  return x + __shfl_xor_sync(kWholeWarp, x, 2);
}
FIGMENT_DEVICE float quadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kWholeWarp, x, 2));
}

}  // namespace figment::cuda
