// Flash attention on Hopper's tensor cores (Shah et al., 2024). One thread of a block's first
// warpgroup has the copy engine bring keys and values into rings of stages; the other two or three
// warpgroups keep 64 queries each. The scores of the next block are multiplied while the weights of
// this one are made. Include from *.sm90a.cu files only.
#pragma once

#include "../../device/instructions.h"
#include "calls.h"
#include "results.h"
#include "wgmma_tiles.h"

namespace figment::cuda {

namespace flash_wgmma {

using namespace wgmma_tiles;

constexpr int kQueriesOfGroup = 64;

/// Of q, k and v as [b·s, h, d].
struct Maps {
  CUtensorMap q, k, v;
};

/// Of a block with so many warpgroups that multiply.
template <int kDim, int kConsumers>
struct Sizes {
  static constexpr int kGroups = ceilDiv(kDim, kGroup);
  static constexpr int kThreads = (1 + kConsumers) * hopper::kWarpgroup;
  static constexpr int kQueries = kConsumers * kQueriesOfGroup;
  /// Of each thread: 65,536 for all.
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 24;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 240;
  static constexpr int kKeys = kDim > 128 ? 64 : 128;  ///< of a block
  static constexpr int kStages = kDim > 64 ? 2 : 4;
  static constexpr int kQueryGroupBytes = kQueries * kRowBytes;
  static constexpr int kQueryBytes = kQueryGroupBytes * kGroups;
  static constexpr int kGroupBytes = kKeys * kRowBytes;
  static constexpr int kBlockBytes = kGroupBytes * kGroups;
  /// Tiles begin at multiples of 1024 bytes.
  static constexpr int kShared = kQueryBytes + 2 * kStages * kBlockBytes + 1024;
};

/// Where things lie in shared memory. A ring's barriers: full ones, then empty ones.
template <class Size>
struct Memory {
  uint32_t tiles, barriers;

  FIGMENT_DEVICE uint32_t queries() const { return tiles; }
  FIGMENT_DEVICE uint32_t keys(int block) const {
    return tiles + Size::kQueryBytes + block % Size::kStages * Size::kBlockBytes;
  }
  FIGMENT_DEVICE uint32_t values(int block) const {
    return keys(block) + Size::kStages * Size::kBlockBytes;
  }
  FIGMENT_DEVICE uint32_t queriesFull() const { return barriers; }
  FIGMENT_DEVICE uint32_t barrier(int ring, int block) const {
    return barriers + 8 * (1 + ring * Size::kStages + block % Size::kStages);
  }
  FIGMENT_DEVICE uint32_t keysFull(int block) const { return barrier(0, block); }
  FIGMENT_DEVICE uint32_t keysEmpty(int block) const { return barrier(1, block); }
  FIGMENT_DEVICE uint32_t valuesFull(int block) const { return barrier(2, block); }
  FIGMENT_DEVICE uint32_t valuesEmpty(int block) const { return barrier(3, block); }
  static constexpr int kBarriers = 1 + 4 * Size::kStages;
  /// Of the turn of its stage that a block is.
  FIGMENT_DEVICE static uint32_t parity(int block) { return block / Size::kStages % 2; }
};

/// The piece of work of a block of threads.
struct Place {
  int64_t task;
  int batch, head;
  int first;     ///< query
  int keys;      ///< that count
  int limit;     ///< keys that some query of the tile sees
  int unmasked;  ///< keys that all of them see
};

template <class Size>
FIGMENT_DEVICE void produce(const AttentionProblem& p, const Maps& maps, const Place& place,
                            const Memory<Size>& memory) {
  hopper::arriveExpecting(memory.queriesFull(), Size::kQueryBytes);
  for (int g = 0; g < Size::kGroups; g++)
    hopper::copyBox(memory.queries() + g * Size::kQueryGroupBytes, maps.q, memory.queriesFull(),
                    g * kGroup, place.head, int(place.batch * p.sq) + place.first);
  const int blocks = ceilDiv(place.limit, Size::kKeys);
  for (int block = 0; block < blocks; block++) {
    const int row = int(place.batch * p.sk) + block * Size::kKeys;
    const uint32_t free = Memory<Size>::parity(block) ^ 1;
    hopper::waitFor(memory.keysEmpty(block), free);
    hopper::arriveExpecting(memory.keysFull(block), Size::kBlockBytes);
    for (int g = 0; g < Size::kGroups; g++)
      hopper::copyBox(memory.keys(block) + g * Size::kGroupBytes, maps.k, memory.keysFull(block),
                      g * kGroup, place.head, row);
    hopper::waitFor(memory.valuesEmpty(block), free);
    hopper::arriveExpecting(memory.valuesFull(block), Size::kBlockBytes);
    for (int g = 0; g < Size::kGroups; g++)
      hopper::copyBox(memory.values(block) + g * Size::kGroupBytes, maps.v,
                      memory.valuesFull(block), g * kGroup, place.head, row);
  }
}

/// What a thread of a warpgroup knows of its two rows, g and g + 8 of its warp's 16.
template <class T, int kDim, class Size>
struct Rows {
  static constexpr int kKeys = Size::kKeys;

  float output[kDim / 2];
  float score[kKeys / 2];
  uint32_t weights[kKeys / 16][4];
  float highest[2];  ///< of the unscaled scores
  float total[2];    ///< of this lane's columns

  FIGMENT_DEVICE void clear() {
    highest[0] = highest[1] = -INFINITY;
    total[0] = total[1] = 0;
    FIGMENT_UNROLL
    for (float& sum : output) sum = 0;
    FIGMENT_UNROLL
    for (float& sum : score) sum = 0;
  }

  /// Begins the scores of a block.
  FIGMENT_DEVICE void beginScores(uint32_t queries, uint32_t keys) {
    hopper::beginProducts();
    FIGMENT_UNROLL
    for (int step = 0; step < ceilDiv(kDim, 16); step++) {
      const uint32_t along = step % 4 * 32;
      const uint64_t a =
          hopper::operandAt(queries + step / 4 * Size::kQueryGroupBytes + along, Size::kGroupBytes);
      const uint64_t b =
          hopper::operandAt(keys + step / 4 * Size::kGroupBytes + along, Size::kGroupBytes);
      hopper::multiplyAlong<T>(score, a, b, step > 0);
    }
    hopper::commitProducts();
  }
  /// Begins to add the weighted values of a block.
  FIGMENT_DEVICE void beginValues(uint32_t values) {
    hopper::beginProducts();
    const uint64_t b = hopper::operandAt(values, Size::kGroupBytes);
    FIGMENT_UNROLL
    for (int step = 0; step < kKeys / 16; step++)
      hopper::multiplyHeld<T>(output, weights[step], b + step * hopper::kOperandStep<true>);
    hopper::commitProducts();
  }

  /// Hides the keys that a row does not see; seen[r] of this block's keys are seen.
  FIGMENT_DEVICE void mask(const int (&seen)[2]) {
    const int column = laneInWarp() % 4 * 2;
    FIGMENT_UNROLL
    for (int n = 0; n < kKeys / 8; n++) {
      FIGMENT_UNROLL
      for (int e = 0; e < 4; e++)
        if (n * 8 + column + e % 2 >= seen[e / 2]) score[4 * n + e] = -INFINITY;
    }
  }
  /// Scores become weights 2^(factor·(score − highest)), still in `score`; kept[r] is what earlier
  /// sums are to be multiplied with. Both rows at once, so that one fills what the other waits for.
  FIGMENT_DEVICE void weigh(float factor, float (&kept)[2]) {
    float top[2] = {highest[0], highest[1]};
    eachScore([&](int i, int r) { top[r] = fmaxf(top[r], score[i]); });
    FIGMENT_UNROLL
    for (int lanes = 1; lanes < 4; lanes *= 2) {
      FIGMENT_UNROLL
      for (float& of : top) of = fmaxf(of, __shfl_xor_sync(kWholeWarp, of, lanes));
    }
    float base[2], shift[2], sum[2] = {0, 0};
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) {
      // A row that has seen no finite score keeps weights of 0 instead of NaN.
      base[r] = top[r] == -INFINITY ? 0.0f : top[r];
      kept[r] = exp2Fast((highest[r] - base[r]) * factor);
      shift[r] = base[r] * factor;
      highest[r] = top[r];
    }
    const bool far[2] = {fabsf(shift[0]) > kFarShift, fabsf(shift[1]) > kFarShift};
    if (far[0] || far[1]) {
      eachScore([&](int i, int r) { score[i] -= far[r] ? base[r] : 0.0f; });
      FIGMENT_UNROLL
      for (int r = 0; r < 2; r++)
        if (far[r]) shift[r] = 0;
    }
    eachScore([&](int i, int r) {
      score[i] = exp2Fast(__fmaf_rn(score[i], factor, -shift[r]));
      sum[r] += score[i];
    });
    FIGMENT_UNROLL
    for (int r = 0; r < 2; r++) total[r] = total[r] * kept[r] + sum[r];
  }
  FIGMENT_DEVICE void pack() {
    FIGMENT_UNROLL
    for (int step = 0; step < kKeys / 16; step++) {
      FIGMENT_UNROLL
      for (int i = 0; i < 4; i++)
        weights[step][i] = packPair<T>(score[8 * step + 2 * i], score[8 * step + 2 * i + 1]);
    }
  }
  FIGMENT_DEVICE void rescale(const float (&kept)[2]) {
    FIGMENT_UNROLL
    for (int i = 0; i < kDim / 2; i++) output[i] *= kept[i / 2 % 2];
  }

 private:
  /// f(which score, whether of row g or g + 8)
  template <class F>
  FIGMENT_DEVICE static void eachScore(F&& f) {
    FIGMENT_UNROLL
    for (int i = 0; i < kKeys / 2; i++) f(i, i / 2 % 2);
  }
};

template <class T, int kDim, class Size>
FIGMENT_DEVICE void consume(const AttentionProblem& p, const Results<PairResults<T>>& results,
                            const Place& place, const Memory<Size>& memory, int self) {
  constexpr int kKeys = Size::kKeys;
  const int lane = laneInWarp(), sq = int(p.sq), d = int(p.d);
  const int rowOfLane = place.first + self * kQueriesOfGroup + warpInBlock() % 4 * 16 + lane / 4;
  const int blocks = ceilDiv(place.limit, kKeys);
  const float factor = float(p.scale * kLog2E);
  const uint32_t queries = memory.queries() + self * kQueriesOfGroup * kRowBytes;
  Rows<T, kDim, Size> rows;
  rows.clear();
  const auto release = [&](uint32_t barrier) {
    if (lane == 0) hopper::arrive(barrier);
  };
  const auto maskBlock = [&](int block) {
    if ((block + 1) * kKeys <= place.unmasked) return;
    const int seen[2] = {int(p.visible(place.keys, rowOfLane)) - block * kKeys,
                         int(p.visible(place.keys, rowOfLane + 8)) - block * kKeys};
    rows.mask(seen);
  };
  float kept[2];
  if (blocks > 0) {
    hopper::waitFor(memory.queriesFull(), 0);
    hopper::waitFor(memory.keysFull(0), 0);
    rows.beginScores(queries, memory.keys(0));
    hopper::waitForProducts<0>();
    hopper::holdSums(rows.score);
    release(memory.keysEmpty(0));
    maskBlock(0);
    rows.weigh(factor, kept);
    rows.pack();
  }
  for (int block = 0; block + 1 < blocks; block++) {
    const int next = block + 1;
    hopper::waitFor(memory.keysFull(next), Memory<Size>::parity(next));
    rows.beginScores(queries, memory.keys(next));
    hopper::waitFor(memory.valuesFull(block), Memory<Size>::parity(block));
    rows.beginValues(memory.values(block));
    hopper::waitForProducts<1>();
    hopper::holdSums(rows.score);
    release(memory.keysEmpty(next));
    maskBlock(next);
    rows.weigh(factor, kept);
    hopper::waitForProducts<0>();
    hopper::holdSums(rows.output);
    hopper::holdFactor(rows.weights);
    release(memory.valuesEmpty(block));
    rows.rescale(kept);
    rows.pack();
  }
  if (blocks > 0) {
    const int last = blocks - 1;
    hopper::waitFor(memory.valuesFull(last), Memory<Size>::parity(last));
    if (blocks * kKeys > place.limit) {
      Tile<kKeys, kDim>::clear(memory.values(last), place.limit - last * kKeys);
      hopper::publishWrites();
      hopper::syncThreads(1 + self, hopper::kWarpgroup);
    }
    rows.beginValues(memory.values(last));
    hopper::waitForProducts<0>();
    hopper::holdSums(rows.output);
    hopper::holdFactor(rows.weights);
  }

  const int64_t queryAt = p.headStart(place.task, p.sq);
  FIGMENT_UNROLL
  for (int r = 0; r < 2; r++) {
    const int row = rowOfLane + r * 8;
    float total = rows.total[r];
    total += __shfl_xor_sync(kWholeWarp, total, 1);
    total += __shfl_xor_sync(kWholeWarp, total, 2);
    if (row >= sq) continue;
    const float top = rows.highest[r];
    const bool blind = top == -INFINITY && total == 0;
    const float share = blind ? 0.0f : 1.0f / total;
    if (lane % 4 == 0)
      results.lse[place.task * sq + row] = blind ? -INFINITY : top * float(p.scale) + logf(total);
    const int64_t at = queryAt + row * p.rowStride();
    FIGMENT_UNROLL
    for (int n = 0; n < kDim / 8; n++) {
      const int column = n * 8 + lane % 4 * 2;
      if (column < d)
        results.out.setPair(at + column, rows.output[4 * n + 2 * r] * share,
                            rows.output[4 * n + 2 * r + 1] * share);
    }
  }
}

template <class T, int kDim, int kConsumers>
FIGMENT_KERNEL_OCCUPIED((Sizes<kDim, kConsumers>::kThreads), 1)
wgmmaKernel(const FIGMENT_GRID_CONSTANT Maps maps, AttentionProblem p,
            Results<PairResults<T>> results, int tiles) {
  using Size = Sizes<kDim, kConsumers>;
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, Memory<Size>::kBarriers);
  Memory<Size> memory;
  memory.tiles = (shared.view<uint16_t>(0, 0).address(0) + 1023) / 1024 * 1024;
  memory.barriers = barriers.address(0);
  Place place;
  const unsigned task = blockIdx.x / unsigned(tiles), heads = unsigned(p.h);
  place.task = task;
  place.batch = int(task / heads);
  place.head = int(task % heads);
  // Last queries first: with `causal` theirs is the most work.
  place.first = (tiles - 1 - int(blockIdx.x % unsigned(tiles))) * Size::kQueries;
  place.keys = int(p.keysOf(place.batch));
  place.limit = int(p.visible(place.keys, min(place.first + Size::kQueries, int(p.sq)) - 1));
  place.unmasked = int(p.visible(place.keys, place.first));
  if (threadIdx.x == 0) {
    hopper::fetchMap(maps.q);
    hopper::fetchMap(maps.k);
    hopper::fetchMap(maps.v);
    hopper::initBarrier(memory.queriesFull(), 1);
    for (int i = 0; i < Size::kStages; i++) {
      hopper::initBarrier(memory.keysFull(i), 1);
      hopper::initBarrier(memory.valuesFull(i), 1);
      hopper::initBarrier(memory.keysEmpty(i), kConsumers * hopper::kWarpgroup / kWarp);
      hopper::initBarrier(memory.valuesEmpty(i), kConsumers * hopper::kWarpgroup / kWarp);
    }
    hopper::publishBarriers();
  }
  __syncthreads();
  const int warpgroup = int(threadIdx.x) / hopper::kWarpgroup;
  if (warpgroup == 0) {
    hopper::giveRegisters<Size::kProducerRegisters>();
    if (threadIdx.x == 0 && place.limit > 0) produce(p, maps, place, memory);
  } else {
    hopper::takeRegisters<Size::kConsumerRegisters>();
    consume<T, kDim>(p, results, place, memory, warpgroup - 1);
  }
}

template <class T, int kDim, int kConsumers>
void launchForward(const OpCall& call, Launcher& launcher) {
  using Size = Sizes<kDim, kConsumers>;
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const Maps maps = {headsMap(call.in[0], p, p.sq, Size::kQueries),
                     headsMap(call.in[1], p, p.sk, Size::kKeys),
                     headsMap(call.in[2], p, p.sk, Size::kKeys)};
  const int64_t tiles = ceilDiv(p.sq, int64_t(Size::kQueries));
  launch<wgmmaKernel<T, kDim, kConsumers>>(launcher, {p.heads() * tiles}, Size::kThreads,
                                           Size::kShared, maps, p,
                                           Results<PairResults<T>>::of(call), int(tiles));
}

/// Of heads whose sums leave registers for a third warpgroup: with it where that takes less time.
template <class T, int kDim>
void launchSmall(const OpCall& call, Launcher& launcher) {
  // Of a block with two and one with three (H200, heads of 64).
  constexpr int64_t kTimeOfTwo = 10, kTimeOfThree = 13;
  const auto& p = call.as<AttentionParams>();
  const auto waves = [&](int consumers) {
    const int64_t tiles = ceilDiv(p.sq, int64_t(consumers) * kQueriesOfGroup);
    return ceilDiv(p.b * p.h * tiles, int64_t(launcher.multiprocessors()));
  };
  if (waves(3) * kTimeOfThree < waves(2) * kTimeOfTwo)
    launchForward<T, kDim, 3>(call, launcher);
  else
    launchForward<T, kDim, 2>(call, launcher);
}

}  // namespace flash_wgmma

template <class T>
void runFlashWgmma(const OpCall& call, Launcher& launcher) {
  const int d = call.as<AttentionParams>().d;
  if (d <= 40)
    flash_wgmma::launchSmall<T, 40>(call, launcher);
  else if (d <= 64)
    flash_wgmma::launchSmall<T, 64>(call, launcher);
  else if (d <= 80)
    flash_wgmma::launchForward<T, 80, 2>(call, launcher);
  else if (d <= 128)
    flash_wgmma::launchForward<T, 128, 2>(call, launcher);
  else
    flash_wgmma::launchForward<T, 160, 2>(call, launcher);
}

}  // namespace figment::cuda
