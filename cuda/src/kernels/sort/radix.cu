// Rows of keys sorted by their upper halves, a byte at a time from the lowest. Each pass counts the
// digits of every tile, sums the counts up in the order (digit, tile), and moves the keys of each
// tile to where its digits begin: in their order, since a warp takes 32 neighbours at a time, and
// each of its lanes counts those before it that have its digit.
#include "../../device/warp.h"
#include "keys.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kDigitBits = 8;
constexpr int kBuckets = 1 << kDigitBits;
static_assert(kBuckets == kThreads, "a thread for each digit");
/// Keys that a warp takes one after another, 32 at a time.
constexpr int kTurns = 16;
constexpr int64_t kTile = int64_t(kThreads) * kTurns;

FIGMENT_DEVICE int digitOf(uint64_t key, int shift) { return int(key >> shift) & (kBuckets - 1); }

/// The lanes whose digit is this lane's; `there` of this one.
FIGMENT_DEVICE uint32_t lanesAlike(int digit, bool there) {
  uint32_t alike = __ballot_sync(kWholeWarp, there);
  FIGMENT_UNROLL
  for (int bit = 0; bit < kDigitBits; bit++) {
    const bool set = (digit >> bit & 1) != 0;
    const uint32_t lanes = __ballot_sync(kWholeWarp, set);
    alike &= set ? lanes : ~lanes;
  }
  return alike;
}

/// This thread's key of a turn: warps take neighbouring parts of the tile.
FIGMENT_DEVICE int64_t placeOf(int turn) {
  return blockIdx.x * kTile + (int64_t(warpInBlock()) * kTurns + turn) * kWarp + laneInWarp();
}

/// How many keys of the tile have each digit, by warp: [kWarps][kBuckets] in shared memory.
FIGMENT_DEVICE void countDigits(const Global<const uint64_t>& keys, int64_t cols, int shift,
                                const Shared<uint32_t>& counts) {
  for (int i = threadInBlock(); i < kWarps * kBuckets; i += kThreads) counts[i] = 0;
  __syncthreads();
  for (int turn = 0; turn < kTurns; turn++) {
    const int64_t i = placeOf(turn);
    const bool there = i < cols;
    const int digit = there ? digitOf(keys[i], shift) : 0;
    const uint32_t alike = lanesAlike(digit, there);
    const bool first = there && __ffs(int(alike)) - 1 == laneInWarp();
    if (first) counts[warpInBlock() * kBuckets + digit] += uint32_t(__popc(alike));
    __syncwarp();
  }
  __syncthreads();
}

/// counts[row][digit][tile].
FIGMENT_KERNEL(kThreads)
countKernel(Global<const uint64_t> keys, Global<uint32_t> counts, int64_t cols, int shift) {
  FIGMENT_SHARED(uint32_t, own, kWarps * kBuckets);
  const int64_t row = blockIdx.y, tiles = gridDim.x;
  countDigits(keys.from(row * cols), cols, shift, own);
  uint32_t sum = 0;
  for (int warp = 0; warp < kWarps; warp++) sum += own[warp * kBuckets + threadIdx.x];
  counts[(row * kBuckets + threadIdx.x) * tiles + blockIdx.x] = sum;
}

/// Replaces each row's counts by the sums of those before, by one block.
FIGMENT_KERNEL(kThreads) scanKernel(Global<uint32_t> counts, int64_t tiles) {
  FIGMENT_SHARED(uint32_t, sums, kThreads);
  const auto own = counts.from((int64_t(blockIdx.x) * kBuckets + threadIdx.x) * tiles);
  uint32_t sum = 0;
  for (int64_t i = 0; i < tiles; i++) sum += own[i];
  sums[threadIdx.x] = sum;
  __syncthreads();
  uint32_t before = 0;
  for (uint32_t i = 0; i < threadIdx.x; i++) before += sums[i];
  for (int64_t i = 0; i < tiles; i++) {
    const uint32_t count = own[i];
    own[i] = before;
    before += count;
  }
}

FIGMENT_KERNEL(kThreads)
moveKernel(Global<const uint64_t> keys, Global<uint64_t> to, Global<const uint32_t> begins,
           int64_t cols, int shift) {
  FIGMENT_SHARED(uint32_t, next, kWarps * kBuckets);
  const int64_t row = blockIdx.y, tiles = gridDim.x;
  const auto from = keys.from(row * cols);
  countDigits(from, cols, shift, next);
  uint32_t begin = begins[(row * kBuckets + threadIdx.x) * tiles + blockIdx.x];
  for (int warp = 0; warp < kWarps; warp++) {
    const uint32_t count = next[warp * kBuckets + threadIdx.x];
    next[warp * kBuckets + threadIdx.x] = begin;
    begin += count;
  }
  __syncthreads();
  for (int turn = 0; turn < kTurns; turn++) {
    const int64_t i = placeOf(turn);
    const bool there = i < cols;
    const uint64_t key = there ? from[i] : 0;
    const int digit = there ? digitOf(key, shift) : 0;
    const uint32_t alike = lanesAlike(digit, there);
    const uint32_t before = uint32_t(__popc(alike & ((1u << laneInWarp()) - 1)));
    const int at = warpInBlock() * kBuckets + digit;
    const uint32_t begin = next[at];
    __syncwarp();
    if (there && before == 0) next[at] = begin + uint32_t(__popc(alike));
    __syncwarp();
    if (there) to[row * cols + begin + before] = key;
  }
}

int64_t tilesOf(int64_t cols) { return ceilDiv(cols, kTile); }
/// Rows of one launch.
constexpr int64_t kMostRows = 65535;

}  // namespace

size_t radixBytes(int64_t rows, int64_t cols) {
  return size_t(rows * tilesOf(cols)) * kBuckets * sizeof(uint32_t);
}

Global<uint64_t> radixSort(Launcher& launcher, Global<uint64_t> keys, Global<uint64_t> spare,
                           Global<uint32_t> counts, int64_t rows, int64_t cols, int bits) {
  const int64_t tiles = tilesOf(cols);
  for (int bit = 0; bit < bits; bit += kDigitBits) {
    const int shift = 32 + bit;
    for (int64_t first = 0; first < rows; first += kMostRows) {
      const Grid grid = {tiles, rows - first < kMostRows ? rows - first : kMostRows};
      const auto from = keys.from(first * cols), to = spare.from(first * cols);
      launch<countKernel>(launcher, grid, kThreads, 0, Global<const uint64_t>(from), counts, cols,
                          shift);
      launch<scanKernel>(launcher, {grid.y}, kThreads, 0, counts, tiles);
      launch<moveKernel>(launcher, grid, kThreads, 0, Global<const uint64_t>(from), to,
                         Global<const uint32_t>(counts), cols, shift);
    }
    const auto sorted = spare;
    spare = keys;
    keys = sorted;
  }
  return keys;
}

}  // namespace figment::cuda
