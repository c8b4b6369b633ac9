// Products of 16-bit factors on Hopper's tensor cores. A block of three warpgroups takes tile after
// tile: one thread of the first has the copy engine bring the factors into a ring of stages, the
// other two warpgroups multiply what has come, 64 rows of the result each, and store their sums
// while the next tile's factors are on their way. Include from *.sm90a.cu files only.
#pragma once

#include "../../device/hopper.h"
#include "wgmma_store.h"
#include "wgmma_work.h"

namespace figment::cuda::wgmma {

/// `acrossA`, `acrossB`: the factor lies across k (its rows of memory are steps of k).
template <int columns, bool acrossB>
struct Stages {
  static constexpr int kBytesA = kTileRows * kTileDepth * 2;
  static constexpr int kGroups = ceilDiv(columns, kGroup);  ///< boxes of a factor across k
  static constexpr int kBytesB = (acrossB ? kGroups * kGroup : columns) * kTileDepth * 2;
  static constexpr int kBytes = kBytesA + kBytesB;
  static constexpr int kCount = 196608 / kBytes;
  /// Of dynamic shared memory; stages begin at multiples of 1024 bytes.
  static constexpr int kShared = kCount * kBytes + 1024;
};
constexpr int kGroupBytes = kGroup * kTileDepth * 2;

struct Ring {
  uint32_t full, empty;  ///< the first of the barriers of all stages
  int stage = 0;
  uint32_t parity = 0;
  template <int count>
  FIGMENT_DEVICE void advance() {
    if (++stage == count) {
      stage = 0;
      parity ^= 1;
    }
  }
  FIGMENT_DEVICE uint32_t fullOf(int i) const { return full + 8 * i; }
  FIGMENT_DEVICE uint32_t emptyOf(int i) const { return empty + 8 * i; }
};

/// A position of a window: of a result's pixel, in image n.
struct Position {
  int x, y, n;
  /// Goes on by less than an image's width, height and any number of images.
  FIGMENT_DEVICE void advance(const Position& by, const Window& window) {
    x += by.x;
    y += by.y;
    n += by.n;
    if (x >= window.width) {
      x -= window.width;
      y++;
    }
    if (y >= window.height) {
      y -= window.height;
      n++;
    }
  }
};
FIGMENT_DEVICE Position positionAt(const Window& window, int i) {
  const int line = i / window.width;
  const int n = line / window.height;
  return {i - line * window.width, line - n * window.height, n};
}

/// The pixel that the first tap of a position reads, as the copy engine names it.
struct Pixel {
  int x, y, n;
};
FIGMENT_DEVICE Pixel pixelOf(const Window& window, const Position& position) {
  return {window.startX + position.x * window.stepX, window.startY + position.y * window.stepY,
          position.n};
}

/// A box of a group of a tile's columns: the channels from `channel` on of one tap's pixels.
struct TapBox {
  int channel, offsetX, offsetY;
};
/// That of group `wish`, or of the last one where there is none: its sums are not stored.
FIGMENT_DEVICE TapBox tapBoxOf(const Work& work, const Window& window, int wish) {
  const int groups = work.results.tapGroups, last = work.columns / kGroup - 1;
  const int group = wish < last ? wish : last;
  const int tap = group / groups, y = tap / window.tapsX, x = tap - y * window.tapsX;
  return {(group - tap * groups) * kGroup, x * window.offsetStepX, y * window.offsetStepY};
}

/// Where the steps of a tile end that begin here: there may be none, of a phase with fewer of them,
/// or with fewer rows, than others.
FIGMENT_DEVICE int endOf(const Work& work, const Place& place, int begin) {
  const Phase& phase = phaseOf(work, place);
  if (place.row * kTileRows >= phase.rows) return begin;
  return begin + work.stepsEach < phase.steps ? begin + work.stepsEach : phase.steps;
}

template <int columns, bool acrossA, bool acrossB>
FIGMENT_DEVICE void produce(const Maps& maps, const Work& work, uint32_t stages, Ring ring) {
  using S = Stages<columns, acrossB>;
  for (int tile = blockIdx.x; tile < work.tiles(); tile += gridDim.x) {
    const Place place = placeOf(work, tile);
    const Phase& phase = phaseOf(work, place);
    const Window& window = phase.window;
    const CUtensorMap& mapA = maps.a[work.phased ? place.batch : 0];
    const int row = place.row * kTileRows, column = place.column * columns;
    const int begin = place.split * work.stepsEach, end = endOf(work, place, begin);
    const int batchA = work.batchA ? place.batch : 0, batchB = work.batchB ? place.batch : 0;
    const Pixel pixel =
        work.a == Source::pixels ? pixelOf(window, positionAt(window, row)) : Pixel{};
    int chunk = begin % work.chunks;
    int tapX = begin / work.chunks % window.tapsX, tapY = begin / work.chunks / window.tapsX;
    // What takes divisions is not left to the steps, which one thread must start as fast as two
    // warpgroups multiply.
    TapBox boxes[S::kGroups] = {};
    Position position = {}, stride = {};
    if (acrossB && work.b == Source::pixels) {
      FIGMENT_UNROLL
      for (int i = 0; i < S::kGroups; i++) boxes[i] = tapBoxOf(work, window, column / kGroup + i);
      position = positionAt(window, chunk * kTileDepth);
      stride = positionAt(window, kTileDepth);
    }
    for (int step = begin; step < end; step++) {
      hopper::waitFor(ring.emptyOf(ring.stage), ring.parity ^ 1);
      const uint32_t full = ring.fullOf(ring.stage);
      const uint32_t a = stages + ring.stage * S::kBytes, b = a + S::kBytesA;
      hopper::arriveExpecting(full, S::kBytes);
      const int depth = chunk * kTileDepth;
      if constexpr (acrossA) {
        FIGMENT_UNROLL
        for (int i = 0; i < kTileRows / kGroup; i++)
          hopper::copyBox(a + i * kGroupBytes, mapA, full, row + i * kGroup, depth, batchA);
      } else if (work.a == Source::pixels) {
        hopper::copyPixels(a, mapA, full, depth, pixel.x, pixel.y, pixel.n,
                           tapX * window.offsetStepX, tapY * window.offsetStepY);
      } else {
        hopper::copyBox(a, mapA, full, depth, row, batchA);
      }
      const int tap = window.firstTap + tapY * window.tapStepY + tapX * window.tapStepX;
      if constexpr (!acrossB) {
        if (work.b == Source::weights)
          hopper::copyBox(b, maps.b, full, depth, tap, column);
        else
          hopper::copyBox(b, maps.b, full, depth, column, batchB);
      } else if (work.b == Source::pixels) {
        const Pixel at = pixelOf(window, position);
        FIGMENT_UNROLL
        for (int i = 0; i < S::kGroups; i++)
          hopper::copyPixels(b + i * kGroupBytes, maps.b, full, boxes[i].channel, at.x, at.y, at.n,
                             boxes[i].offsetX, boxes[i].offsetY);
        position.advance(stride, window);
      } else {
        FIGMENT_UNROLL
        for (int i = 0; i < S::kGroups; i++) {
          if (work.b == Source::weights)
            hopper::copyBox(b + i * kGroupBytes, maps.b, full, column + i * kGroup, tap, depth);
          else
            hopper::copyBox(b + i * kGroupBytes, maps.b, full, column + i * kGroup, depth, batchB);
        }
      }
      ring.template advance<S::kCount>();
      if (++chunk == work.chunks) {
        chunk = 0;
        if (++tapX == window.tapsX) {
          tapX = 0;
          tapY++;
        }
      }
    }
  }
}

/// By the warpgroup that has the rows of half `half` of each tile.
template <class T, int columns, bool acrossA, bool acrossB>
FIGMENT_DEVICE void consume(const Work& work, uint32_t stages, Ring ring, int half,
                            const TileVectors<columns>& vectors) {
  using S = Stages<columns, acrossB>;
  for (int tile = blockIdx.x; tile < work.tiles(); tile += gridDim.x) {
    const Place place = placeOf(work, tile);
    const int begin = place.split * work.stepsEach;
    const int end = endOf(work, place, begin);
    float sums[columns / 2];
    FIGMENT_UNROLL
    for (int i = 0; i < columns / 2; i++) sums[i] = 0;
    if (work.scaled || work.biased) loadVectors<columns>(work, place, vectors, half);
    if (work.added) fetchAddend<columns>(work, place, half);
    int before = -1;  // the stage of the step before, whose products may still be under way
    for (int step = begin; step < end; step++) {
      hopper::waitFor(ring.fullOf(ring.stage), ring.parity);
      const uint32_t at = stages + ring.stage * S::kBytes;
      const uint64_t a = hopper::operandAt(at + half * kGroupBytes, kGroupBytes);
      const uint64_t b = hopper::operandAt(at + S::kBytesA, kGroupBytes);
      hopper::beginProducts();
      FIGMENT_UNROLL
      for (int i = 0; i < kTileDepth / 16; i++)
        hopper::multiply<T, acrossA, acrossB>(sums, a + i * hopper::kOperandStep<acrossA>,
                                              b + i * hopper::kOperandStep<acrossB>);
      hopper::commitProducts();
      hopper::waitForProducts<1>();
      if (before >= 0 && laneInWarp() == 0) hopper::arrive(ring.emptyOf(before));
      before = ring.stage;
      ring.template advance<S::kCount>();
    }
    hopper::waitForProducts<0>();
    hopper::holdSums(sums);
    if (before >= 0 && laneInWarp() == 0) hopper::arrive(ring.emptyOf(before));
    storeSums<columns>(work, place, sums, half, vectors);
  }
}

template <class T, int columns, bool acrossA, bool acrossB>
FIGMENT_KERNEL_OCCUPIED(kBlockThreads, 1)
wgmmaKernel(const FIGMENT_GRID_CONSTANT Maps maps, const FIGMENT_GRID_CONSTANT Work work) {
  using S = Stages<columns, acrossB>;
  FIGMENT_DYNAMIC_SHARED(shared);
  FIGMENT_SHARED(uint64_t, barriers, 2 * S::kCount);
  FIGMENT_SHARED(float, vectors, 2 * TileVectors<columns>::kSize);
  const uint32_t stages = (shared.view<uint16_t>(0, 0).address(0) + 1023) / 1024 * 1024;
  const Ring ring = {barriers.address(0), barriers.address(S::kCount)};
  if (threadIdx.x == 0) {
    for (int i = 0; i < (work.phased ? work.batch : 1); i++) hopper::fetchMap(maps.a[i]);
    hopper::fetchMap(maps.b);
    for (int i = 0; i < S::kCount; i++) {
      hopper::initBarrier(ring.fullOf(i), 1);
      hopper::initBarrier(ring.emptyOf(i), 2 * hopper::kWarpgroup / kWarp);
    }
    hopper::publishBarriers();
  }
  __syncthreads();
  const int warpgroup = threadIdx.x / hopper::kWarpgroup;
  if (warpgroup == 0) {
    hopper::giveRegisters<40>();
    if (threadIdx.x == 0) produce<columns, acrossA, acrossB>(maps, work, stages, ring);
  } else {
    hopper::takeRegisters<232>();
    const int half = warpgroup - 1;
    consume<T, columns, acrossA, acrossB>(
        work, stages, ring, half,
        TileVectors<columns>(vectors.from(half * TileVectors<columns>::kSize)));
  }
}

}  // namespace figment::cuda::wgmma
