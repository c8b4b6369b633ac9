// Flash attention on mma.sync (Dao et al., 2022; Dao, 2023): a block of four warps keeps a tile of
// queries and walks over the keys it sees in blocks, which arrive by cp.async while the block
// before is computed. Scores and weights stay in registers; the softmax runs along in base 2.
#pragma once

#include "calls.h"
#include "flash_parts.h"
#include "mma_tiles.h"
#include "results.h"

namespace figment::cuda {

namespace flash {

constexpr int kThreads = 128;

template <class T>
struct Operands {
  Global<const T> q, k, v;
};

/// kBands: 16-row bands of queries a warp works on. Sums run in an order that does not depend on
/// it.
template <class T, int kDim, int kBands>
struct Forward {
  static constexpr int kKeys = kDim > 128 ? 32 : 64;  ///< of a block
  static constexpr int kQueries = kThreads / kWarp * kBands * 16;
  static constexpr int kSteps = kDim / 16;
  static constexpr bool kHoldsQueries = kDim <= (kBands == 1 ? 160 : 64);
  static constexpr int kKeyTile = kKeys * kTileStride<kDim>;
  static constexpr int kQueryTile = kQueries * kTileStride<kDim>;
  static constexpr size_t kSharedBytes = (kQueryTile + 4 * kKeyTile) * sizeof(T);

  Shared<T> queries;
  Shared<T> blocks;  ///< two stages of keys and values
  uint32_t held[kHoldsQueries ? kSteps : 1][kBands][4];
  float output[kBands][kDim / 8][4];
  float highest[kBands][2];  ///< of the unscaled scores of rows g and g + 8
  float total[kBands][2];    ///< of this lane's columns
  float score[kBands][kKeys / 8][4];

  FIGMENT_DEVICE Shared<T> keys(int block) const { return blocks.from(block % 2 * 2 * kKeyTile); }
  FIGMENT_DEVICE Shared<T> values(int block) const { return keys(block).from(kKeyTile); }

  FIGMENT_DEVICE void queryFragments(uint32_t (&a)[kBands][4], int step) const {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++)
      leftFragment<kDim>(a[m], queries, (warpInBlock() * kBands + m) * 16, step * 16);
  }
  FIGMENT_DEVICE void holdQueries() {
    if constexpr (kHoldsQueries) {
      FIGMENT_UNROLL
      for (int step = 0; step < kSteps; step++) queryFragments(held[step], step);
    }
  }

  FIGMENT_DEVICE void scoreBlock(const Shared<T>& block) {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int n = 0; n < kKeys / 8; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) score[m][n][e] = 0;
      }
    }
    FIGMENT_UNROLL
    for (int step = 0; step < kSteps; step++) {
      uint32_t loaded[kBands][4];
      if constexpr (!kHoldsQueries) queryFragments(loaded, step);
      FIGMENT_UNROLL
      for (int n = 0; n < kKeys / 16; n++) {
        uint32_t b[4];
        rightFragments<kDim>(b, block, n * 16, step * 16);
        FIGMENT_UNROLL
        for (int m = 0; m < kBands; m++)
          mmaPair<T>(score[m][2 * n], score[m][2 * n + 1],
                     kHoldsQueries ? held[kHoldsQueries ? step : 0][m] : loaded[m], b);
      }
    }
  }

  /// Hides the keys that a row does not see; seen[m][r] of this block's keys are seen.
  FIGMENT_DEVICE void mask(const int (&seen)[kBands][2]) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int n = 0; n < kKeys / 8; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++)
          if (n * 8 + column + e % 2 >= seen[m][e / 2]) score[m][n][e] = -INFINITY;
      }
    }
  }

  /// Scores become weights 2^(factor·(score − highest)); earlier sums are rescaled.
  FIGMENT_DEVICE void weigh(float factor) {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) {
        float top = highest[m][r];
        FIGMENT_UNROLL
        for (int n = 0; n < kKeys / 8; n++)
          top = fmaxf(top, fmaxf(score[m][n][2 * r], score[m][n][2 * r + 1]));
        top = quadMax(top);
        // A row that has seen no finite score keeps weights of 0 instead of NaN.
        const float base = top == -INFINITY ? 0.0f : top;
        const float kept = exp2Fast((highest[m][r] - base) * factor);
        float shift = base * factor;
        highest[m][r] = top;
        if (fabsf(shift) > kFarShift) {
          FIGMENT_UNROLL
          for (int n = 0; n < kKeys / 8; n++) {
            score[m][n][2 * r] -= base;
            score[m][n][2 * r + 1] -= base;
          }
          shift = 0;
        }
        float sum = 0;
        FIGMENT_UNROLL
        for (int n = 0; n < kKeys / 8; n++) {
          FIGMENT_UNROLL
          for (int e = 2 * r; e < 2 * r + 2; e++) {
            score[m][n][e] = exp2Fast(__fmaf_rn(score[m][n][e], factor, -shift));
            sum += score[m][n][e];
          }
        }
        total[m][r] = total[m][r] * kept + sum;
        FIGMENT_UNROLL
        for (int n = 0; n < kDim / 8; n++) {
          output[m][n][2 * r] *= kept;
          output[m][n][2 * r + 1] *= kept;
        }
      }
    }
  }

  FIGMENT_DEVICE void addValues(const Shared<T>& block) {
    FIGMENT_UNROLL
    for (int step = 0; step < kKeys / 16; step++) {
      uint32_t a[kBands][4];
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++)
        packFragment<T>(a[m], score[m][2 * step], score[m][2 * step + 1]);
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 16; n++) {
        uint32_t b[4];
        rightFragmentsAcross<kDim>(b, block, step * 16, n * 16);
        FIGMENT_UNROLL
        for (int m = 0; m < kBands; m++)
          mmaPair<T>(output[m][2 * n], output[m][2 * n + 1], a[m], b);
      }
    }
  }

  FIGMENT_DEVICE void clear() {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      highest[m][0] = highest[m][1] = -INFINITY;
      total[m][0] = total[m][1] = 0;
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 8; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) output[m][n][e] = 0;
      }
    }
  }
};

/// To: Results, or Parts, of which blockIdx.y is one.
template <class T, int kDim, int kBands, class To>
FIGMENT_KERNEL_OCCUPIED(kThreads, kBands == 1 && kDim <= 80 ? 3 : 2)
forwardKernel(AttentionProblem p, Operands<T> x, To to, int tiles) {
  constexpr bool kInParts = std::is_same_v<To, Parts>;
  using Tile = Forward<T, kDim, kBands>;
  FIGMENT_DYNAMIC_SHARED(shared);
  Tile tile;
  tile.queries = shared.view<T>(0, Tile::kQueryTile);
  tile.blocks = shared.view<T>(Tile::kQueryTile * int(sizeof(T)), 4 * Tile::kKeyTile);

  // Last queries first: with `causal` theirs is the most work.
  const int64_t task = blockIdx.x / unsigned(tiles);
  const int first = (tiles - 1 - int(blockIdx.x % unsigned(tiles))) * Tile::kQueries;
  const int d = int(p.d), sq = int(p.sq);
  const int keys = int(p.keysOf(task / p.h));
  const int last = min(first + Tile::kQueries, sq) - 1;
  int limit = int(p.visible(keys, last)), firstBlock = 0;
  if constexpr (kInParts) {
    firstBlock = int(blockIdx.y) * (to.keys / Tile::kKeys);
    limit = min(limit, int(blockIdx.y + 1) * to.keys);
  }
  const int blocks = ceilDiv(limit, Tile::kKeys);
  const int unmasked = int(p.visible(keys, first)) / Tile::kKeys;
  const int64_t queryAt = p.headStart(task, p.sq), keyAt = p.headStart(task, p.sk);
  const auto k = x.k.from(keyAt), v = x.v.from(keyAt);
  const auto copyBlock = [&](int block) {
    const int key = block * Tile::kKeys;
    copyRows<Tile::kKeys, kDim, kThreads>(tile.keys(block), k, key, limit, p.rowStride(), d);
    copyRows<Tile::kKeys, kDim, kThreads>(tile.values(block), v, key, limit, p.rowStride(), d);
  };

  const int lane = laneInWarp();
  const int rowOfLane = first + warpInBlock() * kBands * 16 + lane / 4;
  tile.clear();
  if (firstBlock < blocks) {
    copyRows<Tile::kQueries, kDim, kThreads>(tile.queries, x.q.from(queryAt), first, sq,
                                             p.rowStride(), d);
    copyBlock(firstBlock);
    commitCopies();
    waitForCopies<0>();
    __syncthreads();
    tile.holdQueries();
  }
  const float factor = float(p.scale * kLog2E);
  for (int block = firstBlock; block < blocks; block++) {
    if (block + 1 < blocks) copyBlock(block + 1);
    commitCopies();
    tile.scoreBlock(tile.keys(block));
    if (block >= unmasked) {
      int seen[kBands][2];
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++) {
        FIGMENT_UNROLL
        for (int r = 0; r < 2; r++)
          seen[m][r] = int(p.visible(keys, rowOfLane + m * 16 + r * 8)) - block * Tile::kKeys;
      }

      tile.mask(seen);
    }
    tile.weigh(factor);
    tile.addValues(tile.values(block));
    waitForCopies<0>();
    __syncthreads();
  }
  FIGMENT_UNROLL
  for (int m = 0; m < kBands; m++) {
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) {
      const int row = rowOfLane + m * 16 + r * 8;
      const float total = quadSum(tile.total[m][r]), top = tile.highest[m][r];
      if (row >= sq) continue;
      const bool blind = top == -INFINITY && total == 0;
      const float share = kInParts ? 1.0f : blind ? 0.0f : 1.0f / total;
      const int64_t query = task * sq + row;
      int64_t at = 0;
      if constexpr (kInParts) {
        at = (blockIdx.y * to.queries + query) * d;
        if (lane % 4 == 0)
          to.statistics.template store<float2>((blockIdx.y * to.queries + query) * 2,
                                               make_float2(top, total));
      } else {
        at = queryAt + row * p.rowStride();
        if (lane % 4 == 0) to.lse[query] = blind ? -INFINITY : top * float(p.scale) + logf(total);
      }
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 8; n++) {
        const int column = n * 8 + lane % 4 * 2;
        if (column >= d) continue;
        const float left = tile.output[m][n][2 * r] * share;
        const float right = tile.output[m][n][2 * r + 1] * share;
        if constexpr (kInParts)
          to.sums.template store<float2>(at + column, make_float2(left, right));
        else
          to.out.setPair(at + column, left, right);
      }
    }
  }
}

template <class T, int kDim, int kBands, class To>
void launchTo(const OpCall& call, const To& to, int parts, Launcher& launcher) {
  using Tile = Forward<T, kDim, kBands>;
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const Operands<T> x = {viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]),
                         viewOf<const T>(call.in[2])};
  const int64_t tiles = ceilDiv(p.sq, int64_t(Tile::kQueries));
  launch<forwardKernel<T, kDim, kBands, To>>(launcher, {p.heads() * tiles, parts}, kThreads,
                                             Tile::kSharedBytes, p, x, to, int(tiles));
}
template <class T, int kDim, int kBands>
void launchForward(const OpCall& call, Launcher& launcher) {
  launchTo<T, kDim, kBands>(call, Results<PairResults<T>>::of(call), 1, launcher);
}

/// Whether 128 queries a block keep every multiprocessor busy, and their tiles fit.
template <class T, int kDim>
bool widePays(const AttentionProblem& p, const Launcher& launcher) {
  using Tile = Forward<T, kDim, 2>;
  return p.sq > Tile::kQueries / 2 && Tile::kSharedBytes <= launcher.sharedPerBlock() &&
         p.heads() * ceilDiv(p.sq, int64_t(Tile::kQueries)) >= launcher.multiprocessors();
}

template <class T, int kDim>
void launchFitting(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  if (widePays<T, kDim>(p, launcher))
    launchForward<T, kDim, 2>(call, launcher);
  else
    launchForward<T, kDim, 1>(call, launcher);
}

}  // namespace flash

template <class T>
void runFlashMma(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionParams>().d;
  if (d <= 32)
    flash::launchForward<T, 32, 1>(call, launcher);
  else if (d <= 48)
    flash::launchFitting<T, 48>(call, launcher);
  else if (d <= 64)
    flash::launchFitting<T, 64>(call, launcher);
  else if (d <= 80)
    flash::launchFitting<T, 80>(call, launcher);
  else if (d <= 128)
    flash::launchFitting<T, 128>(call, launcher);
  else if (d <= 160)
    flash::launchForward<T, 160, 1>(call, launcher);
  else
    flash::launchForward<T, 256, 1>(call, launcher);
}

template <class T>
void runFlashParts(const OpCall& call, const Parts& parts, Launcher& launcher) {
  const int d = call.as<AttentionParams>().d;
  if (d <= 64)
    flash::launchTo<T, 64, 1>(call, parts, parts.count, launcher);
  else if (d <= 128)
    flash::launchTo<T, 128, 1>(call, parts, parts.count, launcher);
  else if (d <= 160)
    flash::launchTo<T, 160, 1>(call, parts, parts.count, launcher);
  else
    flash::launchTo<T, 256, 1>(call, parts, parts.count, launcher);
}

}  // namespace figment::cuda
