// How kernels reduce x[n,rows,c] over its rows. A block takes a strip of neighbouring columns of a
// slab of rows of one sample; where that leaves a GPU idle, slabs leave partial results. Where
// strips and slabs begin follows from the shape alone, so that results do.
#pragma once

#include "../../device/launch.h"
#include "../../device/warp.h"

namespace figment::cuda {

constexpr int kStripThreads = 256;

struct Strips {
  int64_t n, rows, c;
  int vector;      ///< elements of a vector
  int across;      ///< vectors of a strip: a power of two
  int down;        ///< rows that a block takes at once
  int64_t chunks;  ///< strips side by side
  int64_t slabs;   ///< of a sample
  int64_t slabRows;

  Strips(int64_t n, int64_t rows, int64_t c, int vector, bool whole = false)
      : n(n), rows(rows), c(c), vector(vector) {
    constexpr int64_t kBlocks = 528;  // four for each multiprocessor of the largest GPUs
    constexpr int64_t kFewRows = 4, kSlabRows = 8;  // of a thread
    const int64_t vectors = c / vector;
    // Eight vectors are a line of the cache; long strips of two have a kilobyte's rows in turn.
    const int64_t narrow = rows > 512 ? 16 : 8;
    across = 1;
    while (across < kStripThreads && across < vectors &&
           (across < narrow || kStripThreads / across * kFewRows > rows))
      across *= 2;
    down = kStripThreads / across;
    chunks = ceilDiv(vectors, int64_t(across));
    const int64_t most = ceilDiv(rows, int64_t(down) * kSlabRows);
    const int64_t few = ceilDiv(kBlocks, n * chunks > 0 ? n * chunks : 1);
    slabs = whole || most < 1 ? 1 : most < few ? most : few;
    slabRows = ceilDiv(rows, slabs);
    slabs = slabRows > 0 ? ceilDiv(rows, slabRows) : 1;
  }
  /// How the slabs' partial results [n,slabs,c] are reduced: a block for each strip.
  Strips ofPartials() const { return Strips(n, slabs, c, vector, true); }
  FIGMENT_BOTH int64_t blocks() const { return n * slabs * chunks; }
  Grid grid() const { return blocksFor(blocks()); }
};

/// A thread's place in Strips.
struct StripPlace {
  int64_t sample, slab;
  int64_t firstRow, lastRow;  ///< of this thread, `down` apart; lastRow is the slab's end
  int64_t channel;            ///< the first
  bool active;

  FIGMENT_DEVICE StripPlace(const Strips& strips, int64_t block) {
    const int t = int(threadIdx.x);
    const int64_t chunk = block % strips.chunks, rest = block / strips.chunks;
    slab = rest % strips.slabs;
    sample = rest / strips.slabs;
    channel = (chunk * strips.across + (t & (strips.across - 1))) * strips.vector;
    active = channel < strips.c;
    firstRow = slab * strips.slabRows + t / strips.across;
    lastRow = (slab + 1) * strips.slabRows;
    if (lastRow > strips.rows) lastRow = strips.rows;
  }
};

/// Combines what the rows of threads of a block have, column by column: true in the threads that
/// have the results. `shared` holds kStripThreads·N elements; all threads of the block call this.
template <class Combine, int N, class T>
FIGMENT_DEVICE bool combineDown(const Combine& combine, const Strips& strips,
                                const Shared<T>& shared, T (&values)[N]) {
  const int t = int(threadIdx.x), across = strips.across;
  // Rows of a warp by shuffles, then warps, or rows longer than a warp.
  FIGMENT_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    if (step < across) continue;
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++)
      values[j] = combine(values[j], __shfl_xor_sync(kWholeWarp, values[j], step));
  }
  const bool warps = across < kWarp;
  const int row = warps ? warpInBlock() : t / across, column = t & (across - 1);
  const int rows = warps ? kStripThreads / kWarp : strips.down;
  if (!warps || laneInWarp() < across) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) shared[j * kStripThreads + row * across + column] = values[j];
  }
  __syncthreads();
  if (t >= across) return false;
  for (int other = 1; other < rows; other++) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++)
      values[j] = combine(values[j], T(shared[j * kStripThreads + other * across + t]));
  }
  return true;
}

}  // namespace figment::cuda
