// Flash attention without tensor cores: sums of true f32, whatever the operands' formats.
#pragma once

#include "calls.h"
#include "results.h"

namespace figment::cuda {

namespace flash_simt {

constexpr int kThreads = 128;
constexpr int kAcross = 16;                ///< threads that share a row of scores
constexpr int kDown = kThreads / kAcross;  ///< rows between the kBands of one thread

/// Over the 16 threads of a row.
FIGMENT_DEVICE float rowMax(float x) {
  FIGMENT_UNROLL
  for (int step = 1; step < kAcross; step *= 2) x = fmaxf(x, __shfl_xor_sync(kWholeWarp, x, step));
  return x;
}
FIGMENT_DEVICE float rowSum(float x) {
  FIGMENT_UNROLL
  for (int step = 1; step < kAcross; step *= 2) x += __shfl_xor_sync(kWholeWarp, x, step);
  return x;
}

/// Tiles are rows of 64·kGroups elements and 4 more, so that rows beside each other lie in
/// different banks.
template <int kGroups>
constexpr int kTileStride = kGroups * 64 + 4;

/// Fills `rows` rows of a tile with those of a head from `first` on; zeros from row `end` and
/// column d on.
template <int rows, int kGroups>
FIGMENT_DEVICE void loadRows(const Shared<float>& tile, const AnyFloats<float>& x, int64_t head,
                             int first, int end, int64_t rowStride, int d, bool vectors) {
  constexpr int kChunks = kGroups * 16;
  for (int chunk = int(threadIdx.x); chunk < rows * kChunks; chunk += kThreads) {
    const int row = chunk / kChunks, column = chunk % kChunks * 4;
    float4 four = make_float4(0, 0, 0, 0);
    if (first + row < end && column < d)
      four = x.four(head + (first + row) * rowStride + column, d - column, vectors);
    tile.template store<float4>(row * kTileStride<kGroups> + column, four);
  }
}

FIGMENT_DEVICE float dot4(float4 a, float4 b, float sum) {
  return __fmaf_rn(a.w, b.w, __fmaf_rn(a.z, b.z, __fmaf_rn(a.y, b.y, __fmaf_rn(a.x, b.x, sum))));
}
FIGMENT_DEVICE void addScaled(float (&sum)[4], float factor, float4 x) {
  sum[0] = __fmaf_rn(factor, x.x, sum[0]);
  sum[1] = __fmaf_rn(factor, x.y, sum[1]);
  sum[2] = __fmaf_rn(factor, x.z, sum[2]);
  sum[3] = __fmaf_rn(factor, x.w, sum[3]);
}

/// product[r][c] = the row r·kDown + down of `left` times the row c·kAcross + across of `right`.
template <int kGroups, int kBands, int kColumns>
FIGMENT_DEVICE void multiplyRows(float (&product)[kBands][kColumns], const Shared<float>& left,
                                 const Shared<float>& right, int d) {
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    FIGMENT_UNROLL
    for (int c = 0; c < kColumns; c++) product[r][c] = 0;
  }

  for (int e = 0; e < d; e += 4) {
    float4 b[kColumns];
    FIGMENT_UNROLL
    for (int c = 0; c < kColumns; c++)
      b[c] = right.template load<float4>((c * kAcross + across) * kTileStride<kGroups> + e);
    FIGMENT_UNROLL
    for (int r = 0; r < kBands; r++) {
      const float4 a = left.template load<float4>((r * kDown + down) * kTileStride<kGroups> + e);
      FIGMENT_UNROLL
      for (int c = 0; c < kColumns; c++) product[r][c] = dot4(a, b[c], product[r][c]);
    }
  }
}

/// Elements between rows of a tile of weights.
template <int kColumns>
constexpr int kWeightStride = kColumns* kAcross + 16;

/// sum[r][g] += Σ over the rows of `right` of weights · their columns g·64 + 4·across … + 3.
template <int kColumns, int kGroups, int kBands>
FIGMENT_DEVICE void addWeighted(float (&sum)[kBands][kGroups][4], const Shared<float>& weights,
                                const Shared<float>& right) {
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  for (int j = 0; j < kColumns * kAcross; j += 4) {
    float4 weight[kBands];
    FIGMENT_UNROLL
    for (int r = 0; r < kBands; r++)
      weight[r] = weights.template load<float4>((r * kDown + down) * kWeightStride<kColumns> + j);
    FIGMENT_UNROLL
    for (int g = 0; g < kGroups; g++) {
      const int at = j * kTileStride<kGroups> + g * 64 + across * 4;
      float4 row[4];
      FIGMENT_UNROLL
      for (int i = 0; i < 4; i++)
        row[i] = right.template load<float4>(at + i * kTileStride<kGroups>);
      FIGMENT_UNROLL
      for (int r = 0; r < kBands; r++) {
        addScaled(sum[r][g], weight[r].x, row[0]);
        addScaled(sum[r][g], weight[r].y, row[1]);
        addScaled(sum[r][g], weight[r].z, row[2]);
        addScaled(sum[r][g], weight[r].w, row[3]);
      }
    }
  }
}

template <int kGroups, int kBands>
FIGMENT_DEVICE void storeSums(const AnyResults<float>& to, const float (&sum)[kBands][kGroups][4],
                              const float (&factor)[kBands], int64_t head, int first, int end,
                              int64_t rowStride, int d) {
  const int across = int(threadIdx.x) % kAcross, down = int(threadIdx.x) / kAcross;
  FIGMENT_UNROLL
  for (int r = 0; r < kBands; r++) {
    const int row = first + r * kDown + down;
    if (row >= end) continue;
    FIGMENT_UNROLL
    for (int g = 0; g < kGroups; g++) {
      FIGMENT_UNROLL
      for (int e = 0; e < 4; e++) {
        const int column = g * 64 + across * 4 + e;
        if (column < d) to.set(head + row * rowStride + column, sum[r][g][e] * factor[r]);
      }
    }
  }
}

}  // namespace flash_simt
}  // namespace figment::cuda
