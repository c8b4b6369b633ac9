// The derivative of flash attention on mma.sync (Dao, 2023), without atomic sums: one kernel for
// dq, whose blocks keep queries and walk over keys, and one for dk and dv, whose blocks keep keys
// and walk over queries. Both are one scheme. With a block's own rows x1, x2 and the others' y1, y2
// (queries: q, dout against k, v; keys: k, v against q, dout), p the weights and D = Σ out·dout:
//   s = x1·y1ᵀ,  dp = x2·y2ᵀ,  ds = p·(dp − D),  Σ ds·y1 is dq or dk,  Σ p·y2 is dv.
// Scores of keys are those of queries transposed, so that every left factor of a second product is
// made of sums that its own warp holds.
#pragma once

#include "calls.h"
#include "mma_tiles.h"
#include "row_statistics.h"

namespace figment::cuda {

namespace flash_grad {

constexpr int kThreads = 128;
/// Beside what rounding weights to 16 bits does.
FIGMENT_DEVICE Coarse coarse() { return {.most = 4096, .off = 0x1p-10f}; }

enum class Side { queries, keys };

template <class T>
struct Operands {
  Global<const T> x1, x2, y1, y2;
  PairResults<T> first, second;  ///< dq, or dk and dv
  QueryStatistics statistics;
};

/// kBands: 16-row bands of own rows a warp works on. Sums run in an order that does not depend on
/// it.
template <class T, int kDim, int kBands, Side kSide>
struct Backward {
  static constexpr bool kOfKeys = kSide == Side::keys;
  static constexpr int kOwn = kThreads / kWarp * kBands * 16;
  static constexpr int kOthers = 32;  ///< rows of a block
  static constexpr int kSteps = kDim / 16;
  static constexpr int kOwnTile = kOwn * kTileStride<kDim>;
  static constexpr int kOtherTile = kOthers * kTileStride<kDim>;
  static constexpr int kElements = 2 * kOwnTile + 4 * kOtherTile;
  static constexpr int kStatisticsTile = kOthers * kStatistics;
  static constexpr size_t kSharedBytes =
      kElements * sizeof(T) + (kOfKeys ? 2 * (kStatisticsTile + kOthers) * sizeof(float) : 0);

  Shared<T> own1, own2, others;
  Shared<float> columns;     ///< statistics and bases of the others, where those are queries
  float rows[kBands][2][2];  ///< statistics of own rows g and g + 8, where those are queries
  /// Own queries, bit by bit, whose weights are made of the products themselves, by a softmax that
  /// runs along.
  uint32_t followed = 0;
  float highest[kBands][2];  ///< of these rows' products
  float total[kBands][2];    ///< of the weights of this lane's columns
  float first[kBands][kDim / 8][4];
  float second[kOfKeys ? kBands : 1][kOfKeys ? kDim / 8 : 1][4];
  float weight[kBands][kOthers / 8][4];  ///< scores, then weights
  float grad[kBands][kOthers / 8][4];    ///< of weights, then of scores

  FIGMENT_DEVICE Shared<T> others1(int block) const {
    return others.from(block % 2 * 2 * kOtherTile);
  }
  FIGMENT_DEVICE Shared<T> others2(int block) const { return others1(block).from(kOtherTile); }
  FIGMENT_DEVICE Shared<float> columnsOf(int block) const {
    return columns.from(block % 2 * (kStatisticsTile + kOthers));
  }
  FIGMENT_DEVICE Shared<float> basesOf(int block) const {
    return columnsOf(block).from(kStatisticsTile);
  }

  FIGMENT_DEVICE void multiply(float (&sum)[kBands][kOthers / 8][4], const Shared<T>& own,
                               const Shared<T>& block) const {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int n = 0; n < kOthers / 8; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) sum[m][n][e] = 0;
      }
    }
    FIGMENT_UNROLL
    for (int step = 0; step < kSteps; step++) {
      uint32_t a[kBands][4];
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++)
        leftFragment<kDim>(a[m], own, (warpInBlock() * kBands + m) * 16, step * 16);
      FIGMENT_UNROLL
      for (int n = 0; n < kOthers / 16; n++) {
        uint32_t b[4];
        rightFragments<kDim>(b, block, n * 16, step * 16);
        FIGMENT_UNROLL
        for (int m = 0; m < kBands; m++) mmaPair<T>(sum[m][2 * n], sum[m][2 * n + 1], a[m], b);
      }
    }
  }

  /// total += weights · block.
  template <int kWeightBands>
  FIGMENT_DEVICE static void addProduct(float (&total)[kWeightBands][kDim / 8][4],
                                        const float (&weights)[kWeightBands][kOthers / 8][4],
                                        const Shared<T>& block) {
    FIGMENT_UNROLL
    for (int step = 0; step < kOthers / 16; step++) {
      uint32_t a[kBands][4];
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++)
        packFragment<T>(a[m], weights[m][2 * step], weights[m][2 * step + 1]);
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 16; n++) {
        uint32_t b[4];
        rightFragmentsAcross<kDim>(b, block, step * 16, n * 16);
        FIGMENT_UNROLL
        for (int m = 0; m < kBands; m++) mmaPair<T>(total[m][2 * n], total[m][2 * n + 1], a[m], b);
      }
    }
  }

  /// Where others have bases, scores become relative to them.
  FIGMENT_DEVICE void subtractBases(int block) {
    static_assert(kOthers == kWarp);
    const auto bases = basesOf(block);
    if (!__any_sync(kWholeWarp, bases[laneInWarp()] != 0)) return;
    FIGMENT_UNROLL
    for (int n = 0; n < kOthers / 8; n++) {
      const float2 pair = bases.template load<float2>(n * 8 + laneInWarp() % 4 * 2);
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) weight[m][n][e] -= e % 2 ? pair.y : pair.x;
      }
    }
  }
  /// Where a row is followed, scores become relative to the highest so far, and sums of earlier
  /// weights too; the first seen(m, r) of the block count.
  template <class Seen>
  FIGMENT_DEVICE void follow(float factor, const Seen& seen) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) {
        const int end = seen(m, r);
        float top = highest[m][r];
        FIGMENT_UNROLL
        for (int n = 0; n < kOthers / 8; n++) {
          FIGMENT_UNROLL
          for (int e = 2 * r; e < 2 * r + 2; e++)
            if (n * 8 + column + e % 2 < end) top = fmaxf(top, weight[m][n][e]);
        }
        top = quadMax(top);
        const float base = !follows(m, r) || top == -INFINITY ? 0.0f : top;
        const float kept = follows(m, r) ? exp2Fast((highest[m][r] - base) * factor) : 1.0f;
        highest[m][r] = top;
        total[m][r] *= kept;
        FIGMENT_UNROLL
        for (int n = 0; n < kDim / 8; n++) {
          first[m][n][2 * r] *= kept;
          first[m][n][2 * r + 1] *= kept;
        }
        FIGMENT_UNROLL
        for (int n = 0; n < kOthers / 8; n++) {
          weight[m][n][2 * r] -= base;
          weight[m][n][2 * r + 1] -= base;
        }
      }
    }
  }

  /// In place of the log-sum-exp `follow` makes weights relative to the highest score; where no key
  /// is seen they stay 0.
  FIGMENT_DEVICE void unshift() {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++)
        if (follows(m, r) && rows[m][r][0] != INFINITY) rows[m][r][0] = 0;
    }
  }
  FIGMENT_DEVICE void addUpTotals() {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) total[m][r] = quadSum(total[m][r]);
    }
  }
  FIGMENT_DEVICE bool follows(int m, int r) const { return (followed >> (m * 2 + r) & 1) != 0; }
  /// Follows rows; answers whether the block has new ones.
  template <class F>
  FIGMENT_DEVICE bool followMore(F&& wants) {
    const uint32_t before = followed;
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) followed |= uint32_t(wants(m, r)) << (m * 2 + r);
    }
    return __syncthreads_or(followed != before) != 0;
  }

  /// Scores become weights and gradients of weights those of scores. With `masked`, a row's pairs
  /// count from the block's column from[m][r] on and before to[m][r].
  FIGMENT_DEVICE void weigh(int block, float factor, bool masked, const int (&from)[kBands][2],
                            const int (&to)[kBands][2]) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int n = 0; n < kOthers / 8; n++) {
      float4 pair = make_float4(0, 0, 0, 0);
      if constexpr (kOfKeys)
        pair = columnsOf(block).template load<float4>((n * 8 + column) * kStatistics);
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) {
          const float total = kOfKeys ? (e % 2 ? pair.z : pair.x) : rows[m][e / 2][0];
          const float dot = kOfKeys ? (e % 2 ? pair.w : pair.y) : rows[m][e / 2][1];
          const int place = n * 8 + column + e % 2;
          const bool hidden = masked && (place < from[m][e / 2] || place >= to[m][e / 2]);
          const float p = exp2Fast(__fmaf_rn(weight[m][n][e], factor, -total));
          weight[m][n][e] = hidden ? 0.0f : p;
          if constexpr (!kOfKeys) this->total[m][e / 2] += weight[m][n][e];
          grad[m][n][e] = hidden ? 0.0f : p * (grad[m][n][e] - dot);
        }
      }
    }
  }

  FIGMENT_DEVICE void clear() {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) {
        highest[m][r] = -INFINITY;
        total[m][r] = 0;
      }
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 8; n++) {
        FIGMENT_UNROLL
        for (int e = 0; e < 4; e++) {
          first[m][n][e] = 0;
          if constexpr (kOfKeys) second[m][n][e] = 0;
        }
      }
    }
  }
};

template <class T, int kDim, int kBands, Side kSide>
FIGMENT_KERNEL_OCCUPIED(kThreads, 2)
backwardKernel(AttentionProblem p, Operands<T> x, int tiles) {
  using Tile = Backward<T, kDim, kBands, kSide>;
  FIGMENT_DYNAMIC_SHARED(shared);
  Tile tile;
  tile.own1 = shared.template view<T>(0, Tile::kOwnTile);
  tile.own2 = shared.template view<T>(Tile::kOwnTile * int(sizeof(T)), Tile::kOwnTile);
  tile.others = shared.template view<T>(2 * Tile::kOwnTile * int(sizeof(T)), 4 * Tile::kOtherTile);
  if constexpr (Tile::kOfKeys)
    tile.columns = shared.template view<float>(Tile::kElements * int(sizeof(T)),
                                               2 * (Tile::kStatisticsTile + Tile::kOthers));

  const int64_t task = blockIdx.x / unsigned(tiles);
  const int turn = int(blockIdx.x % unsigned(tiles));
  // The most work first, with `causal`: that of last queries and first keys.
  const int start = (Tile::kOfKeys ? turn : tiles - 1 - turn) * Tile::kOwn;
  const int d = int(p.d), sq = int(p.sq), keys = int(p.keysOf(task / p.h));
  const int end = Tile::kOfKeys ? keys : sq;  // of own rows that are read
  // Others from `begin` to `limit` meet some own row; those from `wholeFrom` to `wholeTo` all of
  // them.
  int begin = 0, limit = 0, wholeFrom = 0, wholeTo = 0;
  if constexpr (Tile::kOfKeys) {
    begin = int(p.firstQuery(keys, start)) / Tile::kOthers * Tile::kOthers;
    limit = sq;
    wholeFrom = int(p.firstQuery(keys, start + Tile::kOwn - 1));
    wholeTo = sq;
  } else {
    limit = int(p.visible(keys, min(start + Tile::kOwn, sq) - 1));
    wholeTo = int(p.visible(keys, start));
  }
  const int firstBlock = begin / Tile::kOthers, lastBlock = ceilDiv(limit, Tile::kOthers);

  const int64_t ownAt = p.headStart(task, Tile::kOfKeys ? p.sk : p.sq);
  const int64_t otherAt = p.headStart(task, Tile::kOfKeys ? p.sq : p.sk);
  const auto y1 = x.y1.from(otherAt), y2 = x.y2.from(otherAt);
  const auto statistics = x.statistics.from(task * sq);
  const auto copyBlock = [&](int block) {
    const int row = block * Tile::kOthers;
    copyRows<Tile::kOthers, kDim, kThreads>(tile.others1(block), y1, row, limit, p.rowStride(), d);
    copyRows<Tile::kOthers, kDim, kThreads>(tile.others2(block), y2, row, limit, p.rowStride(), d);
    if constexpr (Tile::kOfKeys) {
      const int i = int(threadIdx.x);
      if (i < Tile::kStatisticsTile)
        copyAsync4<float>(tile.columnsOf(block), i, statistics.pairs,
                          int64_t(row) * kStatistics + i, row + i / kStatistics < sq);
      else if (i < Tile::kStatisticsTile + Tile::kOthers)
        copyAsync4<float>(tile.columnsOf(block), i, statistics.bases,
                          row + i - Tile::kStatisticsTile, row + i - Tile::kStatisticsTile < sq);
    }
  };

  const int lane = laneInWarp();
  const int rowOfLane = start + warpInBlock() * kBands * 16 + lane / 4;
  tile.clear();
  if constexpr (!Tile::kOfKeys) {
    FIGMENT_UNROLL
    for (int m = 0; m < kBands; m++) {
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++) {
        const int row = rowOfLane + m * 16 + r * 8;
        tile.rows[m][r][0] = row < sq ? statistics.shift(row) : INFINITY;
        tile.rows[m][r][1] = row < sq ? statistics.dot(row) : 0.0f;
      }
    }
  }
  if (firstBlock < lastBlock) {
    copyRows<Tile::kOwn, kDim, kThreads>(tile.own1, x.x1.from(ownAt), start, end, p.rowStride(), d);
    copyRows<Tile::kOwn, kDim, kThreads>(tile.own2, x.x2.from(ownAt), start, end, p.rowStride(), d);
  }
  const float factor = float(p.scale * kLog2E);
  bool following = false;  // some of the block's rows
  if constexpr (!Tile::kOfKeys)
    following = tile.followMore([&](int m, int r) { return coarse().shift(tile.rows[m][r][0]); });
  while (true) {
    if (!Tile::kOfKeys && following) tile.unshift();
    if (firstBlock < lastBlock) copyBlock(firstBlock);
    commitCopies();
    waitForCopies<0>();
    __syncthreads();
    for (int block = firstBlock; block < lastBlock; block++) {
      if (block + 1 < lastBlock) copyBlock(block + 1);
      commitCopies();
      const int row = block * Tile::kOthers;
      tile.multiply(tile.weight, tile.own1, tile.others1(block));
      // Before there are more products: of large scores only.
      if constexpr (Tile::kOfKeys)
        tile.subtractBases(block);
      else if (following)
        tile.follow(factor, [&](int m, int r) {
          return int(p.visible(keys, rowOfLane + m * 16 + r * 8)) - row;
        });
      tile.multiply(tile.grad, tile.own2, tile.others2(block));
      const bool masked = row < wholeFrom || row + Tile::kOthers > wholeTo;
      int from[kBands][2], to[kBands][2];
      FIGMENT_UNROLL
      for (int m = 0; m < kBands; m++) {
        FIGMENT_UNROLL
        for (int r = 0; r < 2; r++) {
          const int own = rowOfLane + m * 16 + r * 8;
          from[m][r] = masked && Tile::kOfKeys ? int(p.firstQuery(keys, own)) - row : 0;
          to[m][r] = !masked         ? Tile::kOthers
                     : Tile::kOfKeys ? sq - row
                                     : int(p.visible(keys, own)) - row;
        }
      }

      tile.weigh(block, factor, masked, from, to);
      if constexpr (Tile::kOfKeys) tile.addProduct(tile.second, tile.weight, tile.others2(block));
      tile.addProduct(tile.first, tile.grad, tile.others1(block));
      waitForCopies<0>();
      __syncthreads();
    }
    if constexpr (Tile::kOfKeys) {
      break;
    } else {
      tile.addUpTotals();
      if (!tile.followMore([&](int m, int r) {
            return !tile.follows(m, r) && coarse().sum(tile.total[m][r], tile.rows[m][r][0]);
          }))
        break;
      following = true;
      tile.clear();
    }
  }

  const float scale = float(p.scale);
  const int rowsThere = Tile::kOfKeys ? int(p.sk) : sq;
  FIGMENT_UNROLL
  for (int m = 0; m < kBands; m++) {
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) {
      const int row = rowOfLane + m * 16 + r * 8;
      if (row >= rowsThere) continue;
      float factorOfRow = scale;
      if constexpr (!Tile::kOfKeys) {
        const float total = tile.total[m][r];
        // NaN is kept.
        if (tile.follows(m, r) && total != 0) {
          factorOfRow *= 1 / total;
          if (lane % 4 == 0) x.statistics.set(task * sq + row, {tile.highest[m][r], log2f(total)});
        }
      }
      const int64_t at = ownAt + row * p.rowStride();
      FIGMENT_UNROLL
      for (int n = 0; n < kDim / 8; n++) {
        const int column = n * 8 + lane % 4 * 2;
        if (column >= d) continue;
        x.first.setPair(at + column, tile.first[m][n][2 * r] * factorOfRow,
                        tile.first[m][n][2 * r + 1] * factorOfRow);
        if constexpr (Tile::kOfKeys)
          x.second.setPair(at + column, tile.second[m][n][2 * r], tile.second[m][n][2 * r + 1]);
      }
    }
  }
}

template <class T, int kDim, int kBands, Side kSide>
void launchSide(const OpCall& call, const AttentionProblem& p, const QueryStatistics& statistics,
                Launcher& launcher) {
  using Tile = Backward<T, kDim, kBands, kSide>;
  const auto view = [&](int i) { return viewOf<const T>(call.in[i]); };
  const auto result = [&](int i) { return PairResults<T>::of(call.out[i]); };
  const Operands<T> x =
      Tile::kOfKeys
          ? Operands<T>{view(1), view(2), view(0), view(5), result(1), result(2), statistics}
          : Operands<T>{view(0), view(5), view(1), view(2), result(0), result(0), statistics};
  const int64_t tiles = ceilDiv(Tile::kOfKeys ? p.sk : p.sq, int64_t(Tile::kOwn));
  launch<backwardKernel<T, kDim, kBands, kSide>>(launcher, {p.heads() * tiles}, kThreads,
                                                 Tile::kSharedBytes, p, x, int(tiles));
}

/// Own rows of 128 where they keep every multiprocessor busy and registers hold their sums, for the
/// most usual head sizes.
template <class T, int kDim, Side kSide>
void launchFitting(const OpCall& call, const AttentionProblem& p, const QueryStatistics& statistics,
                   Launcher& launcher) {
  if constexpr (kDim == 48 || kDim == 64) {
    using Wide = Backward<T, kDim, 2, kSide>;
    const int64_t rows = kSide == Side::keys ? p.sk : p.sq;
    if (rows > Wide::kOwn / 2 && Wide::kSharedBytes <= launcher.sharedPerBlock() &&
        p.heads() * ceilDiv(rows, int64_t(Wide::kOwn)) >= launcher.multiprocessors())
      return launchSide<T, kDim, 2, kSide>(call, p, statistics, launcher);
  }
  launchSide<T, kDim, 1, kSide>(call, p, statistics, launcher);
}

template <class T, int kDim>
void launchBoth(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const auto statistics = rowStatistics(call, launcher);
  launchFitting<T, kDim, Side::queries>(call, p, statistics, launcher);
  launchFitting<T, kDim, Side::keys>(call, p, statistics, launcher);
}

}  // namespace flash_grad

template <class T>
void runFlashGradMma(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionGradParams>().d;
  if (d <= 32)
    flash_grad::launchBoth<T, 32>(call, launcher);
  else if (d <= 48)
    flash_grad::launchBoth<T, 48>(call, launcher);
  else if (d <= 64)
    flash_grad::launchBoth<T, 64>(call, launcher);
  else if (d <= 80)
    flash_grad::launchBoth<T, 80>(call, launcher);
  else if (d <= 128)
    flash_grad::launchBoth<T, 128>(call, launcher);
  else
    flash_grad::launchBoth<T, 160>(call, launcher);
}

}  // namespace figment::cuda
