// Products of 16-bit factors on tensor cores by mma.sync: tiles of both factors travel through a
// ring of stages in shared memory, each warp sums its part of the block's tile in f32. What lies in
// memory aligned is copied without waiting (cp.async); the rest passes through registers while the
// stage before is computed.
#pragma once

#include "../../device/instructions.h"
#include "layouts.h"
#include "store.h"

namespace figment::cuda {

/// Sizes of a block's tile and of each warp's part of it. `anyMemory`: also factors that are not
/// aligned.
template <int rows, int columns, int warpRows, int warpColumns, int stages, bool anyMemory>
struct MmaTile {
  static constexpr int kRows = rows, kColumns = columns, kDepth = 32;
  static constexpr int kWarpRows = warpRows, kWarpColumns = warpColumns, kStages = stages;
  static constexpr bool kAnyMemory = anyMemory;
  static constexpr int kWarpsDown = rows / warpRows, kWarpsAcross = columns / warpColumns;
  static constexpr int kThreads = kWarpsDown * kWarpsAcross * kWarp;
  static constexpr size_t kSharedBytes = size_t(stages) * (rows + columns) * kDepth * 2;
  static_assert(kSharedBytes >= size_t(rows) * columns * sizeof(float));
};
using LargeMmaTile = MmaTile<128, 128, 64, 64, 4, false>;
using SmallMmaTile = MmaTile<64, 64, 32, 32, 4, true>;

/// A tile in shared memory: lines of kLength elements, of which eight at a time move. Their places
/// in a line are mixed so that eight lines' share no banks.
template <int kLength>
FIGMENT_DEVICE int tileIndex(int line, int column) {
  const int vector = column / 8;
  const int mixed = kLength == 32 ? vector ^ (line / 2 & 3) : vector ^ (line & 7);
  return line * kLength + mixed * 8 + column % 8;
}

/// One factor's way into shared memory.
template <class T, template <int, int, int> class LoaderOf, int kLines, int kLength, class Tile>
class MmaFeed {
  static constexpr int kPerLine = kLength / 8;
  static constexpr int kStep = Tile::kThreads / kPerLine;
  static constexpr int kCount = kLines / kStep;
  static_assert(kStep * kCount == kLines);

 public:
  using Loader = LoaderOf<8, kCount, kStep>;
  using Factor = typename Loader::Factor;

  FIGMENT_DEVICE MmaFeed(const Global<const T>& from, const Factor& factor, const Product& p,
                         const Phase& phase, const Task& task, int32_t first, int32_t end)
      : from_(from),
        aligned_(factor.aligned != 0),
        corner_(cornerOf<kLength, 8>(int(threadIdx.x))),
        loader_(factor, p, phase, task, first, end, corner_) {}

  /// Begins to bring the tile at a depth.
  FIGMENT_DEVICE void fetch(int32_t depth, const Shared<T>& tile) {
    if (!Tile::kAnyMemory || aligned_) {
      loader_.vectors(depth, [&](int v, bool there, int64_t offset) {
        copyAsync16(tile, place(v), from_, offset, there);
      });
      return;
    }
    if constexpr (Tile::kAnyMemory)
      loader_.elements(depth, [&](int v, int e, bool there, int64_t offset) {
        const uint32_t bits = there ? from_[offset].bits : 0;
        words_[v][e / 2] = e % 2 == 0 ? bits : words_[v][e / 2] | bits << 16;
      });
  }
  /// Puts down what fetch() left in registers.
  FIGMENT_DEVICE void settle(const Shared<T>& tile) {
    if constexpr (Tile::kAnyMemory) {
      if (aligned_) return;
      FIGMENT_UNROLL
      for (int v = 0; v < kCount; v++)
        tile.template store<uint4>(
            place(v), make_uint4(words_[v][0], words_[v][1], words_[v][2], words_[v][3]));
    }
  }

 private:
  FIGMENT_DEVICE int place(int v) const {
    return tileIndex<kLength>(corner_.line + v * kStep, corner_.column);
  }

  const Global<const T>& from_;
  bool aligned_;
  Corner corner_;
  Loader loader_;
  uint32_t words_[kCount][4];
};

/// Fragments of A of 16 rows from `row` and 16 of depth from `k`.
template <bool depthInner, int kLength, class T>
FIGMENT_DEVICE void loadA(uint32_t (&words)[4], const Shared<T>& tile, int row, int k, int lane) {
  if constexpr (depthInner)
    loadMatrices(words, tile, tileIndex<kLength>(row + lane % 16, k + lane / 16 * 8));
  else
    loadMatricesTransposed(
        words, tile, tileIndex<kLength>(k + lane / 16 * 8 + lane % 8, row + lane / 8 % 2 * 8));
}
/// Fragments of B of 16 columns, the first eight's in the first two words.
template <bool depthInner, int kLength, class T>
FIGMENT_DEVICE void loadB(uint32_t (&words)[4], const Shared<T>& tile, int column, int k,
                          int lane) {
  if constexpr (depthInner)
    loadMatrices(words, tile,
                 tileIndex<kLength>(column + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
  else
    loadMatricesTransposed(words, tile, tileIndex<kLength>(k + lane % 16, column + lane / 16 * 8));
}

/// Stores the sums of all the block's warps, each with its part of the tile, from where mma leaves
/// them; after a barrier that follows the last use of shared memory.
template <class Tile, class Memory, int kDown, int kAcross>
FIGMENT_DEVICE void storeFragments(const Epilogue<float>& epilogue, const Product& p,
                                   const Phase& phase, const Task& task, const Memory& shared,
                                   int warpRow, int warpColumn, int lane,
                                   const float (&sums)[kDown][kAcross][4]) {
  const auto tile = shared.template view<float>(0, Tile::kRows * Tile::kColumns);
  FIGMENT_UNROLL
  for (int i = 0; i < kDown; i++) {
    FIGMENT_UNROLL
    for (int j = 0; j < kAcross; j++) {
      const int row = warpRow + i * 16 + lane / 4, column = warpColumn + j * 8 + lane % 4 * 2;
      tile.template store<float2>(sumIndex<Tile::kColumns>(row, column),
                                  make_float2(sums[i][j][0], sums[i][j][1]));
      tile.template store<float2>(sumIndex<Tile::kColumns>(row + 8, column),
                                  make_float2(sums[i][j][2], sums[i][j][3]));
    }
  }
  __syncthreads();
  storeTile<Tile::kRows, Tile::kColumns, Tile::kThreads>(epilogue, p, phase, task, tile);
}

template <class T, class L, class Tile>
FIGMENT_KERNEL(Tile::kThreads)
mmaKernel(Global<const T> a, FIGMENT_GRID_CONSTANT const typename L::FactorA factorA,
          Global<const T> b, FIGMENT_GRID_CONSTANT const typename L::FactorB factorB,
          FIGMENT_GRID_CONSTANT const Product p, Epilogue<float> epilogue) {
  constexpr int kDepth = Tile::kDepth, kStages = Tile::kStages;
  constexpr int kSizeA = Tile::kRows * kDepth, kSizeB = Tile::kColumns * kDepth;
  constexpr int kLengthA = L::kAlongA ? kDepth : Tile::kRows;
  constexpr int kLengthB = L::kAlongB ? kDepth : Tile::kColumns;
  constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpColumns / 8;
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto tilesA = shared.template view<T>(0, kStages * kSizeA);
  const auto tilesB = shared.template view<T>(kStages * kSizeA * 2, kStages * kSizeB);

  const Task task = taskOf<Tile::kRows, Tile::kColumns>(p, blockIdx.x);
  const Phase& phase = p.phase[task.phase];
  if (task.firstRow >= phase.rows) return;
  MmaFeed<T, L::template LoaderA, kSizeA / kLengthA, kLengthA, Tile> feedA(
      a, factorA, p, phase, task, task.firstRow, phase.rows);
  MmaFeed<T, L::template LoaderB, kSizeB / kLengthB, kLengthB, Tile> feedB(
      b, factorB, p, phase, task, task.firstColumn, p.columns);

  const int32_t steps = ceilDiv(task.endDepth - task.firstDepth, kDepth);
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  const int warpRow = warp / Tile::kWarpsAcross * Tile::kWarpRows;
  const int warpColumn = warp % Tile::kWarpsAcross * Tile::kWarpColumns;
  float sums[kDown][kAcross][4] = {};
  int slot = 0, nextSlot = 0;
  // The first turns only fill the ring.
  for (int32_t step = 1 - kStages; step < steps; step++) {
    if (step >= 0) {
      waitForCopies<kStages - 2>();
      __syncthreads();
    }
    const auto nextA = tilesA.from(nextSlot * kSizeA), nextB = tilesB.from(nextSlot * kSizeB);
    const bool more = step + kStages - 1 < steps;
    if (more) {
      const int32_t depth = task.firstDepth + (step + kStages - 1) * kDepth;
      feedA.fetch(depth, nextA);
      feedB.fetch(depth, nextB);
    }
    commitCopies();
    if (step >= 0) {
      const auto tileA = tilesA.from(slot * kSizeA), tileB = tilesB.from(slot * kSizeB);
      FIGMENT_UNROLL
      for (int k = 0; k < kDepth; k += 16) {
        uint32_t wordsA[kDown][4], wordsB[kAcross][2];
        FIGMENT_UNROLL
        for (int i = 0; i < kDown; i++)
          loadA<L::kAlongA, kLengthA>(wordsA[i], tileA, warpRow + i * 16, k, lane);
        FIGMENT_UNROLL
        for (int j = 0; j < kAcross; j += 2) {
          uint32_t both[4];
          loadB<L::kAlongB, kLengthB>(both, tileB, warpColumn + j * 8, k, lane);
          wordsB[j][0] = both[0];
          wordsB[j][1] = both[1];
          wordsB[j + 1][0] = both[2];
          wordsB[j + 1][1] = both[3];
        }
        FIGMENT_UNROLL
        for (int i = 0; i < kDown; i++) {
          FIGMENT_UNROLL
          for (int j = 0; j < kAcross; j++) mma16816<T>(sums[i][j], wordsA[i], wordsB[j]);
        }
      }
      slot = slot + 1 == kStages ? 0 : slot + 1;
    }
    if (more) {
      feedA.settle(nextA);
      feedB.settle(nextB);
    }
    nextSlot = nextSlot + 1 == kStages ? 0 : nextSlot + 1;
  }
  waitForCopies<0>();
  __syncthreads();
  storeFragments<Tile>(epilogue, p, phase, task, shared, warpRow, warpColumn, lane, sums);
}

}  // namespace figment::cuda
