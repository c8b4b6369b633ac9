// The derivative of flash attention on Hopper's tensor cores (Shah et al., 2024), without atomic
// sums: the scheme of flash_grad_mma.h, with blocks for dk and dv and blocks for dq, which have no
// data of each other's, in one launch that few heads fill better than two. A block of three
// warpgroups keeps 128 own rows: one thread of the first has the copy engine bring blocks of others
// into a ring of stages, a second warp brings what is known of queries; the other two warpgroups
// take 64 own rows each, of which one multiplies while the other makes weights (in turns for small
// heads, as it comes for others).
// Include from *.sm90a.cu files only.
#pragma once

#include <algorithm>

#include "flash_grad_wgmma_far.h"

namespace figment::cuda {

namespace flash_grad_wgmma {

constexpr int kThreads = 384;

/// Blocks of keys come first: theirs is the most work.
template <class T>
struct Work {
  Operands<T> keys, queries;
  QueryStatistics statistics;
  unsigned keyBlocks;
};

/// Where things lie in shared memory. Blocks are counted by the turns that a block of threads
/// takes. Barriers: of own rows, of stages, full ones and empty ones, and of the turns in which
/// warpgroups multiply.
template <int kDim, Side kSide>
struct Memory {
  using Size = Sizes<kDim, kSide>;
  static constexpr int kOwnBytes = Size::kHeld ? 0 : Size::Own::kBytes;
  static constexpr int kBlockBytes = Size::Others::kBytes;
  /// Of 128 KiB, which leaves room for own rows.
  static constexpr int kStages = kBlockBytes > 16 * 1024 ? 2 : 4;
  static constexpr int kBarriers = 1 + 2 * kStages + kConsumers;
  static constexpr int kBytes = 2 * kOwnBytes + 2 * kStages * kBlockBytes + wgmma_tiles::kAlignment;
  static constexpr int kColumns = Size::kOfKeys ? Size::kOtherRows : 0;
  /// Of a stage: shifts, Σ out·dout and bases of queries, and whether a base is not 0.
  static constexpr int kStageFloats = Size::kOfKeys ? 3 * kColumns + 2 : 0;

  uint32_t tiles, barriers;
  Shared<float> columns;

  FIGMENT_DEVICE uint32_t x1() const { return tiles; }
  FIGMENT_DEVICE uint32_t x2() const { return tiles + kOwnBytes; }
  FIGMENT_DEVICE uint32_t y1(int turn) const {
    return tiles + 2 * kOwnBytes + turn % kStages * 2 * kBlockBytes;
  }
  FIGMENT_DEVICE uint32_t y2(int turn) const { return y1(turn) + kBlockBytes; }
  FIGMENT_DEVICE Shared<float> shifts(int turn) const {
    return columns.from(turn % kStages * kStageFloats);
  }
  FIGMENT_DEVICE Shared<float> dots(int turn) const { return shifts(turn).from(kColumns); }
  FIGMENT_DEVICE Shared<float> bases(int turn) const { return shifts(turn).from(2 * kColumns); }
  FIGMENT_DEVICE Shared<float> far(int turn) const { return shifts(turn).from(3 * kColumns); }
  FIGMENT_DEVICE uint32_t ownFull() const { return barriers; }
  FIGMENT_DEVICE uint32_t full(int turn) const { return barriers + 8 * (1 + turn % kStages); }
  FIGMENT_DEVICE uint32_t empty(int turn) const { return full(turn) + 8 * kStages; }
  /// Ends a phase when it is a consumer's time to begin products, with Size::kAhead.
  FIGMENT_DEVICE uint32_t multiplies(int half) const {
    return barriers + 8 * (1 + 2 * kStages + half);
  }
  /// Of the turn of its stage.
  FIGMENT_DEVICE static uint32_t parity(int turn) { return turn / kStages % 2; }
};

template <int kDim, Side kSide>
FIGMENT_DEVICE void produce(const AttentionProblem& p, const Maps& maps, const Place& place,
                            const Memory<kDim, kSide>& memory) {
  using Size = Sizes<kDim, kSide>;
  using Own = typename Size::Own;
  using Others = typename Size::Others;
  const int others = int(place.batch * (Size::kOfKeys ? p.sq : p.sk)) + place.begin;
  if constexpr (!Size::kHeld) {
    const int own = int(place.batch * (Size::kOfKeys ? p.sk : p.sq)) + place.start;
    hopper::arriveExpecting(memory.ownFull(), 2 * Own::kBytes);
    Own::copy(memory.x1(), maps.x1, memory.ownFull(), place.head, own);
    Own::copy(memory.x2(), maps.x2, memory.ownFull(), place.head, own);
  }
  for (int turn = 0; turn < place.turns; turn++) {
    const uint32_t full = memory.full(turn);
    const int row = others + turn * Others::kRows;
    hopper::waitFor(memory.empty(turn), memory.parity(turn) ^ 1);
    hopper::arriveExpecting(full, 2 * Others::kBytes);
    Others::copy(memory.y1(turn), maps.y1, full, place.head, row);
    Others::copy(memory.y2(turn), maps.y2, full, place.head, row);
  }
}

/// A warp's part in the production for keys: the statistics of queries, columns by themselves.
template <int kDim>
FIGMENT_DEVICE void produceStatistics(const AttentionProblem& p, const QueryStatistics& statistics,
                                      const Place& place, const Memory<kDim, Side::keys>& memory) {
  constexpr int kRows = Sizes<kDim, Side::keys>::kOtherRows;
  const int lane = laneInWarp(), sq = int(p.sq);
  const auto own = statistics.from(place.task * sq);
  for (int turn = 0; turn < place.turns; turn++) {
    hopper::waitFor(memory.empty(turn), memory.parity(turn) ^ 1);
    const auto shifts = memory.shifts(turn), dots = memory.dots(turn), bases = memory.bases(turn);
    bool far = false;
    FIGMENT_UNROLL
    for (int i = 0; i < kRows / kWarp; i++) {
      const int at = i * kWarp + lane, row = place.begin + turn * kRows + at;
      float2 pair = make_float2(0, 0);
      float base = 0;
      if (row < sq) {
        pair = own.pairs.template load<float2>(int64_t(row) * kStatistics);
        base = own.bases[row];
      }
      shifts[at] = pair.x;
      dots[at] = pair.y;
      bases[at] = base;
      far = far || base != 0;
    }
    const bool any = __any_sync(kWholeWarp, far);
    if (lane == 0) memory.far(turn)[0] = any ? 1.0f : 0.0f;
    __syncwarp();
    if (lane == 0) hopper::arrive(memory.full(turn));
  }
}

template <class T, int kDim, Side kSide>
FIGMENT_DEVICE void consume(const AttentionProblem& p, const Operands<T>& x,
                            const QueryStatistics& statistics, const Place& place,
                            const Memory<kDim, kSide>& memory, int half) {
  using Size = Sizes<kDim, kSide>;
  using Others = typename Size::Others;
  constexpr bool kOfKeys = Size::kOfKeys;
  constexpr int kOwnOfHalf = Size::kOwnRows / kConsumers;
  const int lane = laneInWarp(), sq = int(p.sq), d = int(p.d);
  const int rowOfLane = place.start + half * kOwnOfHalf + warpInBlock() % 4 * 16 + lane / 4;
  const float factor = float(p.scale * kLog2E);
  const uint32_t own = half * kOwnOfHalf * wgmma_tiles::kRowBytes;
  const int64_t length = kOfKeys ? p.sk : p.sq, ownAt = p.headStart(place.task, length);
  Sums<T, kDim, kSide> sums;
  sums.clear();
  if constexpr (Size::kHeld) {
    sums.hold(sums.x1, x.x1.from(ownAt), rowOfLane, place.keys, p);
    sums.hold(sums.x2, x.x2.from(ownAt), rowOfLane, place.keys, p);
  }
  const auto known = statistics.from(place.task * sq);
  bool far = false;
  if constexpr (!kOfKeys) {
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) {
      const int row = rowOfLane + r * 8;
      const bool there = row < sq;
      sums.shift[r] = there ? known.shift(row) : 0.0f;
      sums.dot[r] = there ? known.dot(row) : 0.0f;
      sums.base[r] = there ? known.bases[row] : 0.0f;
      far = far || sums.base[r] != 0;
    }
    far = __any_sync(kWholeWarp, far);
  }
  if (!Size::kHeld && place.turns > 0) hopper::waitFor(memory.ownFull(), 0);
  const auto beginScores = [&](int turn) {
    const int row = place.begin + turn * Others::kRows;
    hopper::waitFor(memory.full(turn), memory.parity(turn));
    if (row + Others::kRows > place.limit) {
      Others::clear(memory.y1(turn), place.limit - row);
      if constexpr (kOfKeys) Others::clear(memory.y2(turn), place.limit - row);
      hopper::publishWrites();
      hopper::syncThreads(1 + half, hopper::kWarpgroup);
    }
    sums.begin(sums.weight, sums.x1, memory.x1() + own, memory.y1(turn));
    sums.begin(sums.grad, sums.x2, memory.x2() + own, memory.y2(turn));
  };
  const auto hide = [&](auto& values, int turn) {
    const int row = place.begin + turn * Others::kRows;
    if (row >= place.wholeFrom && row + Others::kRows <= place.wholeTo) return;
    int from[2] = {0, 0}, to[2] = {sq - row, sq - row};
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) {
      if constexpr (kOfKeys)
        from[r] = int(p.firstQuery(place.keys, rowOfLane + r * 8)) - row;
      else
        to[r] = int(p.visible(place.keys, rowOfLane + r * 8)) - row;
    }
    sums.hide(values, from, to);
  };
  const auto weigh = [&](int turn) {
    if constexpr (kOfKeys) far = memory.far(turn)[0] != 0;
    if (far) sums.subtractBases(memory.bases(turn));
    sums.weigh(factor, memory.shifts(turn));
    hide(sums.weight, turn);
    if constexpr (kOfKeys) sums.round(sums.weights, sums.weight);
  };
  const auto differentiate = [&](int turn) {
    sums.differentiate(memory.dots(turn));
    hide(sums.grad, turn);
    sums.round(sums.grads, sums.grad);
  };
  const auto waitForAll = [&] {
    hopper::waitForProducts<0>();
    hopper::holdSums(sums.weight);
    hopper::holdSums(sums.grad);
    if constexpr (kOfKeys) {
      hopper::holdSums(sums.second);
      hopper::holdFactor(sums.weights);
    }
    hopper::holdSums(sums.first);
    hopper::holdFactor(sums.grads);
  };
  const auto release = [&](uint32_t barrier) {
    __syncwarp();
    if (lane == 0) hopper::arrive(barrier);
  };
  const auto addProducts = [&](int turn) {
    if constexpr (kOfKeys) sums.add(sums.second, sums.weights, memory.y2(turn));
    sums.add(sums.first, sums.grads, memory.y1(turn));
  };
  // ptxas serialises products with a branch around one of them, so the last turn is apart.
  if constexpr (Size::kAhead) {
    if (place.turns > 0) {
      beginScores(0);
      waitForAll();
      for (int turn = 0; turn + 1 < place.turns; turn++) {
        weigh(turn);
        differentiate(turn);
        hopper::waitFor(memory.multiplies(half), uint32_t(turn + (half == 0)) % 2);
        addProducts(turn);
        beginScores(turn + 1);
        release(memory.multiplies(1 - half));
        waitForAll();
        release(memory.empty(turn));
      }
      weigh(place.turns - 1);
      differentiate(place.turns - 1);
      addProducts(place.turns - 1);
      waitForAll();
    }
  } else {
    for (int turn = 0; turn < place.turns; turn++) {
      beginScores(turn);
      hopper::waitForProducts<1>();
      hopper::holdSums(sums.weight);
      weigh(turn);
      hopper::waitForProducts<0>();
      hopper::holdSums(sums.grad);
      if constexpr (kOfKeys) sums.add(sums.second, sums.weights, memory.y2(turn));
      differentiate(turn);
      sums.add(sums.first, sums.grads, memory.y1(turn));
      waitForAll();
      release(memory.empty(turn));
    }
  }

  const float scale = float(p.scale);
  FIGMENT_UNROLL
  for (int r = 0; r < 2; r++) {
    const int row = rowOfLane + r * 8;
    if (row >= int(length)) continue;
    const int64_t at = ownAt + row * p.rowStride();
    FIGMENT_UNROLL
    for (int n = 0; n < kDim / 8; n++) {
      const int column = n * 8 + lane % 4 * 2, i = 4 * n + 2 * r;
      if (column >= d) continue;
      x.first.setPair(at + column, sums.first[i] * scale, sums.first[i + 1] * scale);
      if constexpr (kOfKeys) x.second.setPair(at + column, sums.second[i], sums.second[i + 1]);
    }
  }
}

/// The work of block `block` of a side.
template <class T, int kDim, Side kSide>
FIGMENT_DEVICE void runBlock(const AttentionProblem& p, const Operands<T>& x,
                             const QueryStatistics& statistics, unsigned block) {
  using There = Memory<kDim, kSide>;
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, There::kBarriers);
  FIGMENT_SHARED(float, columns, There::kStages* There::kStageFloats + 1);
  constexpr uint32_t kAlignment = wgmma_tiles::kAlignment;
  There memory;
  memory.tiles =
      (shared.view<uint16_t>(0, 0).address(0) + kAlignment - 1) / kAlignment * kAlignment;
  memory.barriers = barriers.address(0);
  memory.columns = columns;
  const Place place = placeOf<kDim, kSide>(p, block, x.tiles);
  if (threadIdx.x == 0) {
    if constexpr (!Sizes<kDim, kSide>::kHeld) {
      hopper::fetchMap(x.maps.x1);
      hopper::fetchMap(x.maps.x2);
    }
    hopper::fetchMap(x.maps.y1);
    hopper::fetchMap(x.maps.y2);
    hopper::initBarrier(memory.ownFull(), 1);
    for (int i = 0; i < There::kStages; i++) {
      hopper::initBarrier(memory.full(i), kSide == Side::keys ? 2 : 1);
      hopper::initBarrier(memory.empty(i), kConsumers * hopper::kWarpgroup / kWarp);
    }
    for (int i = 0; i < kConsumers; i++)
      hopper::initBarrier(memory.multiplies(i), hopper::kWarpgroup / kWarp);
    hopper::publishBarriers();
  }
  __syncthreads();
  const int warpgroup = int(threadIdx.x) / hopper::kWarpgroup;
  if (warpgroup == 0) {
    hopper::giveRegisters<24>();
    if (place.turns == 0) return;
    if (threadIdx.x == 0) produce<kDim, kSide>(p, x.maps, place, memory);
    if constexpr (kSide == Side::keys)
      if (warpInBlock() == 1) produceStatistics<kDim>(p, statistics, place, memory);
  } else {
    hopper::takeRegisters<240>();
    consume<T, kDim, kSide>(p, x, statistics, place, memory, warpgroup - 1);
  }
}

template <class T, int kDim>
FIGMENT_KERNEL_OCCUPIED(kThreads, 1)
backwardWgmmaKernel(const FIGMENT_GRID_CONSTANT Work<T> work, AttentionProblem p) {
  if (blockIdx.x < work.keyBlocks)
    runBlock<T, kDim, Side::keys>(p, work.keys, work.statistics, blockIdx.x);
  else
    runBlock<T, kDim, Side::queries>(p, work.queries, work.statistics, blockIdx.x - work.keyBlocks);
}

/// Of a side: its own rows and those of others by their numbers among the operands, its results.
template <class T, int kDim, Side kSide>
Operands<T> operandsOf(const OpCall& call, const AttentionProblem& p, int x1, int x2, int y1,
                       int y2, int first, int second) {
  using Size = Sizes<kDim, kSide>;
  const int64_t length = Size::kOfKeys ? p.sk : p.sq, others = Size::kOfKeys ? p.sq : p.sk;
  const auto own = [&](int i) {
    return Size::kHeld ? CUtensorMap{}
                       : wgmma_tiles::headsMap(call.in[i], p, length, Size::kOwnRows);
  };
  const auto other = [&](int i) {
    return wgmma_tiles::headsMap(call.in[i], p, others, Size::kOtherRows);
  };
  return {{own(x1), own(x2), other(y1), other(y2)},
          viewOf<const T>(call.in[x1]),
          viewOf<const T>(call.in[x2]),
          PairResults<T>::of(call.out[first]),
          PairResults<T>::of(call.out[second]),
          int(ceilDiv(length, int64_t(Size::kOwnRows)))};
}

template <class T, int kDim>
void launchBackward(const OpCall& call, Launcher& launcher) {
  const auto p = AttentionProblem::of<AttentionGradParams>(call, 6);
  const auto statistics = rowStatistics(call, launcher);
  const auto keys = operandsOf<T, kDim, Side::keys>(call, p, 1, 2, 0, 5, 1, 2);
  const auto queries = operandsOf<T, kDim, Side::queries>(call, p, 0, 5, 1, 2, 0, 0);
  const int64_t keyBlocks = p.heads() * keys.tiles, queryBlocks = p.heads() * queries.tiles;
  constexpr int kBytes =
      std::max(Memory<kDim, Side::keys>::kBytes, Memory<kDim, Side::queries>::kBytes);
  launchFarSoftmax<T, kDim>(p, queries, statistics, launcher);
  launch<backwardWgmmaKernel<T, kDim>>(launcher, {keyBlocks + queryBlocks}, kThreads, kBytes,
                                       Work<T>{keys, queries, statistics, unsigned(keyBlocks)}, p);
}

}  // namespace flash_grad_wgmma

template <class T>
void runFlashGradWgmma(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionGradParams>().d;
  if (d <= 40)
    flash_grad_wgmma::launchBackward<T, 40>(call, launcher);
  else if (d <= 64)
    flash_grad_wgmma::launchBackward<T, 64>(call, launcher);
  else if (d <= 80)
    flash_grad_wgmma::launchBackward<T, 80>(call, launcher);
  else
    flash_grad_wgmma::launchBackward<T, 128>(call, launcher);
}

}  // namespace figment::cuda
